"""The stages of a cell: each makes arrays and facts from those of the stages that it needs.

Scout       what poison is the same for every seed       dataset, model, attack
Poison      the poisoned rows of a training set          scout, dataset, model, attack, seed
Survey      what a sanitizer can know of the clean set   dataset, defense
Fit         sanitize, then train                         dataset, model, defense, poison, seed
Take        a model that came trained, as it is          dataset, model
Perturb     attack a block of the test images            fit, wrapper, attack, samples, seed
Inspect     whether the defended model's gradients serve fit, wrapper, samples, seed
Certify     bound what an attack can change              fit, defense, samples, seed

A stage knows no file, no clock and no other process: executors see to these. What the stages make
becomes the row of a cell in `fastadv.grid.measure`.
"""
