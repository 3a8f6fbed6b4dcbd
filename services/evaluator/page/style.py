"""How the page looks: by daylight, at night, narrow, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6675; --paper: #ffffff; --shade: #f3f5f8; --line: #d5dbe3;
  --good: #1a7f4b; --bad: #b3261e; --open: #8a5a00; --blue: #2563a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #a3afbf; --paper: #14181e; --shade: #1e242d; --line: #3a4452;
    --good: #5bd08f; --bad: #ff8a80; --open: #f2b84b; --blue: #82b6f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .3rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
p { max-width: 52rem; margin: .5rem 0; }
a { color: var(--blue); }
.soft { color: var(--soft); }
.small, caption { font-size: .875rem; }
.badge { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; border: 1px solid currentColor;
  font-size: .8rem; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); } .mute { color: var(--soft); }
.verdict { border-left: .4rem solid currentColor; padding-left: 1rem; }
.verdict h1, .verdict p, .verdict ul { color: var(--ink); }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.flips { display: flex; height: 1.1rem; max-width: 52rem; border-radius: .3rem; overflow: hidden; margin: .6rem 0; }
.flips span { min-width: 2px; }
.flips .won { background: var(--good); } .flips .lost { background: var(--bad); }
.flips .tied { background: var(--line); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--shade); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem; }
figure img { width: 100%; height: auto; background: #ffffff; border-radius: .3rem; }
figcaption { font-size: .875rem; color: var(--soft); }
.foreign { white-space: pre-wrap; overflow-wrap: anywhere; }
.where { white-space: nowrap; } .named { min-width: 12rem; } .terms td:last-child { min-width: 14rem; }
.review { min-width: 18rem; max-width: 38rem; }
.heat td { border: 2px solid var(--paper); }
.chart { width: 100%; min-width: 38rem; max-width: 52rem; height: auto; font-size: 13px; }
.chart text { fill: var(--ink); } .chart .soft { fill: var(--soft); }
.chart .axis { stroke: var(--line); } .chart .zero { stroke: var(--soft); }
.chart .mark { stroke: currentColor; fill: currentColor; }
.chart .strong { font-weight: 600; } .chart .bad { fill: var(--bad); }
.chart .limit { stroke: var(--bad); stroke-dasharray: 5 4; }
.chart .path { stroke: currentColor; fill: none; stroke-width: 2; }
.better { color: var(--blue); } .worse { color: var(--open); }
.chart .better { fill: var(--blue); } .chart .worse { fill: var(--open); }
.bars td { vertical-align: middle; }
.bar { width: 20rem; height: .9rem; background: var(--shade); border-radius: .3rem; overflow: hidden; }
.bar span { display: block; height: 100%; background: currentColor; }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; background: var(--shade); padding: .8rem; border-radius: .5rem; font-size: .85rem; }
code { font-size: .9em; }
@media print {
  body { max-width: none; font-size: 11pt; } h2 { break-after: avoid; } tr, figure { break-inside: avoid; }
  .wide { overflow: visible; } .chart { min-width: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
