"""The style of the page: one for light and dark, with the system's fonts."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fcfcfb; --card: #ffffff; --ink: #1a1a19; --dim: #5f5e5a; --rule: #e1e0d9;
  --harm: #e2592f; --bad: #b3261e;
  --s0: #2a78d6; --s1: #199e70; --s2: #b27700; --s3: #008300;
  --s4: #4a3aa7; --s5: #d13b3a; --s6: #c2497e; --s7: #c4501b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #161615; --card: #1e1e1d; --ink: #f2f1ec; --dim: #a8a69c; --rule: #383835;
    --harm: #d9541e; --bad: #ff8a80;
    --s0: #5598e7; --s1: #1baf7a; --s2: #d99a1c; --s3: #3ba63b;
    --s4: #9085e9; --s5: #e66767; --s6: #e07aa6; --s7: #e07c4f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 90rem;
  background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; }
h3 { font-size: .95rem; margin: 0 0 .6rem; }
h1, h2, .notes span { overflow-wrap: anywhere; }
h3 span, .dim, .legend { color: var(--dim); font-weight: normal; }
code { font: .92em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre {
  margin: .8rem 0; padding: .7rem .9rem; white-space: pre-wrap;
  background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
}
dl.facts { display: flex; flex-wrap: wrap; gap: .3rem 1.8rem; margin: .8rem 0; }
dl.facts dt { color: var(--dim); font-size: .8rem; }
dl.facts dd { margin: 0; }
.scroll {
  overflow-x: auto; width: fit-content; max-width: 100%;
  border: 1px solid var(--rule); border-radius: 10px;
}
table { border-collapse: separate; border-spacing: 0; }
th, td { padding: .5rem .8rem; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { text-align: right; vertical-align: bottom; font-size: .85rem; }
th code { display: inline-block; overflow-wrap: normal; }
thead code { max-width: 12rem; }
tbody tr:last-child > * { border-bottom: 0; }
table, .card { background: var(--card); }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); z-index: 1; }
tbody th { font-size: .85rem; max-width: 15rem; }
tbody th span { display: block; color: var(--dim); font-weight: normal; }
tr:not(.worst) + tr.worst > * { border-top: 2px solid var(--rule); }
td { min-width: 8rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.figure { background: color-mix(in srgb, var(--harm) calc(var(--share) * 1%), transparent); }
td b { display: block; font-size: 1.05rem; }
td span { display: block; font-size: .78rem; color: var(--dim); }
td.figure span { color: color-mix(in srgb, var(--ink) 72%, transparent); }
td .bad, .bad { color: var(--bad); }
.legend { font-size: .85rem; max-width: 70rem; }
ul.notes { list-style: none; padding: 0; display: grid; gap: .5rem; max-width: 70rem; }
ul.notes li {
  display: grid; grid-template-columns: 2.2rem minmax(0, 1fr); padding: .6rem .8rem;
  background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
}
ul.notes li.flag { border-left: 4px solid var(--harm); }
.cards {
  display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
}
.card { padding: 1rem; border: 1px solid var(--rule); border-radius: 10px; }
.pictures { display: grid; gap: .4rem; grid-template-columns: repeat(8, minmax(0, 1fr)); }
figure { margin: 0; }
figure img {
  display: block; width: 100%; margin-bottom: 2px; border-radius: 3px; image-rendering: pixelated;
}
figcaption { font-size: .75rem; text-align: center; white-space: nowrap; }
.turned { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font-size: 11px; }
svg .grid { stroke: var(--rule); }
svg polyline { fill: none; stroke: var(--c); stroke-width: 2; }
svg polygon { fill: var(--c); opacity: .13; }
svg circle { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
svg .dashed polyline { stroke-dasharray: 5 4; }
.key {
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .5rem 0 0; padding: 0;
  list-style: none; font-size: .85rem;
}
.key i {
  display: inline-block; width: 1.1em; margin-right: .4em; vertical-align: middle;
  border-top: 3px solid var(--c);
}
.key .dashed i { border-top-style: dashed; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
@media (max-width: 34rem) {
  .pictures { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  th, td { padding: .4rem .5rem; }
  td { min-width: 0; }
  th code { max-width: 8rem; }
}
@media print { body { max-width: none; padding: 0; } .card, tr { break-inside: avoid; } }
"""
