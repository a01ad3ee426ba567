"""The look of the fragments: one style sheet, readable in light and in dark, and without telling colours apart.

Colours are orange for A and blue for B (Okabe and Ito's palette, safe for colour-blind readers), mixed into the page's
own colours so that they follow its theme. No meaning is in colour alone: A's words are also struck out, B's underlined.
"""

from __future__ import annotations

from pipelines.review.markup import Markup

_CSS = """
.rf { --a: #d55e00; --b: #0072b2; --line: color-mix(in srgb, currentColor 22%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent); line-height: 1.45; overflow-wrap: anywhere; min-width: 0 }
.dark .rf { --a: #f0a35e; --b: #6cb8e8 }
.rf h2 { font-size: 1.25rem; font-weight: 700; margin: .4rem 0 }
.rf h3 { font-size: 1.05rem; font-weight: 700; margin: 1.2rem 0 .4rem }
.rf h4 { font-weight: 700; margin: 0 0 .3rem }
.rf small { display: block; font-size: .8rem; opacity: .8; font-weight: 400 }
.rf .rf-answer { margin: .3rem 0 .8rem }
.rf .rf-note, .rf.rf-note { font-size: .85rem; opacity: .85; margin: .3rem 0 }
.rf-message-box { border: 1px solid var(--line); border-left: 4px solid var(--a); border-radius: .4rem; padding: .6rem .9rem }
.rf code { font-size: .8rem }
.rf-facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem .9rem; margin: .3rem 0 }
.rf-facts dt { opacity: .75 } .rf-facts dd { margin: 0 }
.rf-numbers { display: flex; flex-wrap: wrap; gap: .6rem; margin: .8rem 0 }
.rf-numbers > div { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; flex: 1 1 9rem }
.rf-numbers b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums }
.rf-wide { overflow-x: auto }
.rf table { border-collapse: collapse; width: 100%; font-size: .9rem }
.rf th, .rf td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line) }
.rf thead th { font-size: .8rem; opacity: .8; font-weight: 600; vertical-align: bottom }
.rf tbody th { font-weight: 600 }
.rf .rf-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.rf .rf-line { min-width: 8rem; width: 26% }
.rf-track { position: relative; height: .8rem; margin-top: .3rem; background: var(--soft); border-radius: .2rem }
.rf-track > i { position: absolute; display: block }
.rf-bar { top: 0; bottom: 0; left: 0; min-width: 2px; border-radius: .2rem }
.rf-changed { background: var(--b) }
.rf-same { background: color-mix(in srgb, currentColor 35%, transparent) }
.rf-band { top: 25%; bottom: 25%; min-width: 2px; border-radius: .2rem; background: color-mix(in srgb, var(--b) 55%, transparent) }
.rf-point { top: 0; bottom: 0; width: 3px; margin-left: -1px; background: currentColor }
.rf-zero { top: -.15rem; bottom: -.15rem; border-left: 1px solid currentColor }
.rf-margin { top: 0; bottom: 0; border-left: 1px dashed currentColor; opacity: .7 }
.rf-sides { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .8rem }
.rf-side { border: 1px solid var(--line); border-top: 3px solid var(--a); border-radius: .4rem; padding: .5rem .7rem; min-width: 0 }
.rf-side-b { border-top-color: var(--b) }
.rf-text { white-space: pre-wrap }
.rf-side > .rf-text { max-height: 40rem; overflow-y: auto }
.rf del { background: color-mix(in srgb, var(--a) 22%, transparent); text-decoration: line-through; text-decoration-thickness: 1px }
.rf ins { background: color-mix(in srgb, var(--b) 22%, transparent); text-decoration: underline; text-underline-offset: .15em }
.rf-message { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: .6rem; padding: .4rem 0; border-bottom: 1px solid var(--line) }
.rf-role { font-size: .8rem; font-weight: 600; opacity: .8 }
.rf-user .rf-said { border-left: 3px solid var(--line); padding-left: .6rem }
.rf-said { max-height: 14rem; overflow-y: auto; font-size: .92rem }
.rf-asked, .rf-argument { font-family: ui-monospace, monospace; font-size: .82rem; white-space: pre-wrap }
.rf-tool small { display: inline; margin-left: .5rem }
.rf-call { margin: .5rem 0 1rem }
.rf-class { display: inline-block; font-size: .8rem; font-weight: 600; padding: .05rem .5rem; margin-bottom: .3rem;
  border: 1px solid var(--line); border-radius: 1rem }
.rf-class-changed { border-width: 2px; border-color: currentColor }
.rf table.rf-changes { margin-top: .4rem; table-layout: fixed; overflow-wrap: anywhere }
.rf-changes th:nth-child(1) { width: 20% } .rf-changes th:nth-child(2) { width: 7rem }
.rf summary { cursor: pointer; padding: .3rem 0; font-weight: 600 }
@media (max-width: 44rem) {
  .rf-sides, .rf-message, .rf-facts { grid-template-columns: minmax(0, 1fr) }
  .rf .rf-line { display: none }
}
"""


def style_sheet() -> Markup:
    """The `style` element that a page with fragments needs once."""
    return Markup(f"<style>{_CSS}</style>")


_REPORT_CSS = """
:root { color-scheme: light dark }
body { margin: 0; font-family: system-ui, sans-serif; background: Canvas; color: CanvasText }
.rf-report { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.2rem 4rem }
.rf-report h1 { font-size: 1.5rem; margin: .2rem 0 1rem }
.rf-report > section { margin-top: 2.2rem }
.rf-report > section > h2 { border-bottom: 2px solid var(--line); padding-bottom: .3rem; margin-bottom: .8rem }
.rf-report pre { font-size: .78rem; overflow-x: auto; background: var(--soft); padding: .7rem; border-radius: .4rem }
.rf-verdict { border: 1px solid var(--line); border-left: .5rem solid var(--answer); border-radius: .5rem; padding: .8rem 1.1rem }
.rf-verdict { --answer: #8a8f98 } .rf-verdict-ship { --answer: #1a7f37 } .rf-verdict-do_not_ship { --answer: #c0392b }
.rf-verdict-word { font-size: 1.5rem; font-weight: 700; margin: 0 }
.rf-verdict-word > span { color: var(--answer) }
.rf-verdict ul { margin: .5rem 0 .2rem; padding-left: 1.2rem }
.rf-forest-row { display: grid; grid-template-columns: minmax(9rem, 17rem) minmax(10rem, 1fr) minmax(9rem, 15rem); gap: .2rem 1rem;
  align-items: center; padding: .3rem 0; border-bottom: 1px solid var(--soft) }
.rf-forest-label b { font-weight: 600; font-size: .92rem } .rf-forest-told { font-size: .85rem; font-variant-numeric: tabular-nums }
.rf-forest-track { position: relative; height: 1.3rem; background: var(--soft); overflow: hidden; border-radius: .2rem }
.rf-forest-track > i { position: absolute; display: block }
.rf-interval { top: 50%; height: 2px; margin-top: -1px; min-width: 1px; background: var(--b) }
.rf-interval::before, .rf-interval::after { content: ""; position: absolute; top: -5px; bottom: -5px; border-left: 2px solid var(--b) }
.rf-interval::before { left: 0 } .rf-interval::after { right: 0 }
.rf-beyond-low::before, .rf-beyond-high::after { top: -4px; bottom: auto; border: 5px solid transparent }
.rf-beyond-low::before { border-right-color: var(--b); border-left: 0 } .rf-beyond-high::after { border-left-color: var(--b); border-right: 0 }
.rf-dot, .rf-diamond { top: 50%; width: 10px; height: 10px; margin: -5px 0 0 -5px; background: var(--b); border-radius: 50%;
  box-shadow: 0 0 0 2px Canvas }
.rf-diamond { border-radius: 0; transform: rotate(45deg) }
.rf-scale { border: 0; padding: 0 } .rf-ticks { position: relative; height: 1.4rem }
.rf-tick { position: absolute; transform: translateX(-50%); font-size: .75rem; opacity: .8; white-space: nowrap }
.rf-flows { display: grid; grid-template-columns: minmax(6rem, 1fr) minmax(7rem, 2fr) minmax(6rem, 1fr); height: 26rem; margin: .6rem 0 }
.rf-flow-side { position: relative; font-size: .85rem; min-width: 0 }
.rf-flow-name { position: absolute; left: 0; right: 0; transform: translateY(-50%); padding: 0 .6rem; line-height: 1.15 }
.rf-flow-name small { display: inline; margin-left: .4rem } .rf-flow-a { text-align: right }
.rf-ribbons { width: 100%; height: 100%; display: block }
.rf-ribbon-same { fill: currentColor; opacity: .22 } .rf-ribbon-changed { fill: var(--b); opacity: .6 }
.rf-ribbon-same:hover, .rf-ribbon-changed:hover { opacity: .9 }
.rf-biggest > details { border-bottom: 1px solid var(--line) } .rf-biggest > details > summary { font-weight: 400 }
.rf-pair { padding: .3rem 0 1rem .8rem; border-left: 3px solid var(--line) }
@media (prefers-color-scheme: dark) { .rf-report, .rf-report .rf { --a: #f0a35e; --b: #6cb8e8 } .rf-verdict-ship { --answer: #4ac26b }
  .rf-verdict-do_not_ship { --answer: #ff7b72 } }
@media (max-width: 44rem) {
  .rf-forest-row { grid-template-columns: minmax(0, 1fr); gap: .15rem } .rf-scale > span { display: none }
  .rf-flows { grid-template-columns: minmax(0, 1fr) minmax(3rem, 1fr) minmax(0, 1fr) } .rf-flow-name { padding: 0 .25rem; font-size: .75rem }
  .rf-flow-name b { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } .rf-flow-name small { margin: 0 }
  .rf-report .rf-wide table { min-width: 32rem }
}
@media print { .rf-report { max-width: none } }
"""


def report_style() -> Markup:
    """The `style` element of a file that stands alone: the page around the fragments, forests and flows."""
    return Markup(f"<style>{_REPORT_CSS}</style>")
