"""Classifiers that follow the scikit-learn estimator contract and can be differentiated."""
