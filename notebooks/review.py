# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Review a version: the answer first, then its pairs, to look at or to judge.

Widgets and layout only; everything that reads, counts or renders is in `pipelines.review`, and `refold review` serves the queue.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Refold: review")


@app.cell(hide_code=True)
def _():
    import os

    import marimo as mo

    from pipelines.lake.lake import Lake
    from pipelines.review.changes import count_pages, list_choices, load_changes
    from pipelines.review.headline import load_headline
    from pipelines.review.headline_html import render_message
    from pipelines.review.location import Location, chosen
    from pipelines.review.markup import style_sheet
    from pipelines.review.pair import load_pair
    from pipelines.review.pair_html import render_pair
    from pipelines.review.room_html import render_links, render_queue, render_top
    from pipelines.review.widgets import (
        COLUMN_WIDTHS,
        VIEW_CHOICES,
        WRAPPED,
        change_rows,
        class_choices,
        first_selected,
        keeping_pair,
        label_of,
        labels_of,
        move_choices,
        open_at,
        order_choices,
        segment_choices,
        selected_pair,
        tool_choices,
    )
    from pipelines.settings import Settings

    lake = Lake.from_settings(Settings.from_env())
    location = Location(mo.query_params())
    opening = open_at(lake, location.wanted, os.environ)
    return (
        COLUMN_WIDTHS,
        VIEW_CHOICES,
        WRAPPED,
        change_rows,
        chosen,
        class_choices,
        count_pages,
        first_selected,
        keeping_pair,
        label_of,
        labels_of,
        lake,
        list_choices,
        load_changes,
        load_headline,
        load_pair,
        location,
        mo,
        move_choices,
        opening,
        order_choices,
        render_links,
        render_message,
        render_pair,
        render_queue,
        render_top,
        segment_choices,
        selected_pair,
        style_sheet,
        tool_choices,
    )


@app.cell(hide_code=True)
def _(mo, opening, render_message, style_sheet):
    _message = [mo.Html(render_message(opening.message))] if opening.message else []
    mo.vstack([mo.Html(style_sheet()), mo.md("# How B differs from A"), *_message])
    return


@app.cell(hide_code=True)
def _(VIEW_CHOICES, location, mo, opening):
    mo.stop(opening.experiment is None)
    experiment = mo.ui.dropdown(
        list(opening.versions),
        value=opening.experiment,
        label="Experiment",
        allow_select_none=False,
        on_change=location.keeping("experiment"),
    )
    view = mo.ui.radio(
        VIEW_CHOICES,
        value=next(label for label, name in VIEW_CHOICES.items() if name == location.wanted.view),
        label="Show",
        inline=True,
        on_change=location.keeping("view"),
    )
    return experiment, view


@app.cell(hide_code=True)
def _(experiment, location, mo, opening, view):
    version = mo.ui.dropdown(
        opening.labels(experiment.value),
        value=opening.opened(experiment.value),
        label="Version",
        allow_select_none=False,
        on_change=location.keeping("version"),
    )
    mo.hstack([experiment, version, view], justify="start", wrap=True, gap=1.5)
    return (version,)


@app.cell(hide_code=True)
def _(lake, list_choices, load_headline, version):
    headline = load_headline(lake, version.value)
    choices = list_choices(lake, version.value)
    return choices, headline


@app.cell(hide_code=True)
def _(headline, mo, render_top, view):
    mo.Html(render_top(headline, is_folded=view.value == "judge"))
    return


@app.cell(hide_code=True)
def _(location, mo, render_queue, version, view):
    mo.stop(view.value != "judge")
    mo.Html(render_queue(version.value, location.wanted.unit_id))
    return


@app.cell(hide_code=True)
def _(
    choices,
    class_choices,
    headline,
    label_of,
    labels_of,
    location,
    mo,
    move_choices,
    order_choices,
    segment_choices,
    tool_choices,
    view,
):
    mo.stop(view.value != "pairs")
    _wanted = location.wanted
    _chosen = _wanted.chosen
    _classes, _segments, _tools = class_choices(headline), segment_choices(choices), tool_choices(choices)
    _moves, _orders = move_choices(choices), order_choices(headline, choices.metrics)
    classes = mo.ui.multiselect(
        _classes, labels_of(_classes, _chosen.classes), label="What changed", on_change=location.keeping("class")
    )
    segments = mo.ui.multiselect(
        _segments, labels_of(_segments, _chosen.segments), label="Segment", on_change=location.keeping("segment")
    )
    tools = mo.ui.multiselect(
        _tools, labels_of(_tools, _chosen.tools), label="Tool", on_change=location.keeping("tool")
    )
    moved = mo.ui.dropdown(_moves, label_of(_moves, _wanted.moved), label="Metric", on_change=location.keeping("moved"))
    similar = mo.ui.range_slider(
        0,
        100,
        step=5,
        value=[round(100 * share) for share in _chosen.similarity],
        debounce=True,
        show_value=True,
        label="Words in common, %",
        on_change=location.keeping("similar"),
    )
    order = mo.ui.dropdown(
        _orders,
        label_of(_orders, _wanted.order) or next(iter(_orders)),
        label="Order",
        allow_select_none=False,
        on_change=location.keeping("order"),
    )
    is_all = mo.ui.switch(_chosen.is_all, label="unchanged pairs too", on_change=location.keeping("all"))
    _shown = [classes, *([segments] if _segments else []), *([tools] if _tools else []), *([moved] if _moves else [])]
    mo.vstack([mo.md("## Pairs"), mo.hstack([*_shown, similar, is_all, order], justify="start", wrap=True, gap=1.0)])
    return classes, is_all, moved, order, segments, similar, tools


@app.cell(hide_code=True)
def _(chosen, classes, count_pages, is_all, lake, mo, moved, segments, similar, tools, version):
    selection = chosen(classes.value, segments.value, tools.value, similar.value, moved.value, is_all=is_all.value)
    _pages = count_pages(lake, version.value, selection)
    page_number = mo.ui.number(start=1, stop=_pages, value=1, step=1, label=f"Page (of {_pages:,})")
    page_number if _pages > 1 else None
    return page_number, selection


@app.cell(hide_code=True)
def _(
    COLUMN_WIDTHS,
    WRAPPED,
    change_rows,
    choices,
    first_selected,
    keeping_pair,
    lake,
    load_changes,
    location,
    mo,
    order,
    page_number,
    render_message,
    selection,
    version,
):
    page = load_changes(lake, version.value, selection, order=order.value, page=page_number.value)
    mo.stop(not page.rows, mo.Html(render_message("No pair like that.")))
    table = mo.ui.table(
        change_rows(page, choices.metrics),
        selection="single",
        initial_selection=first_selected(page, location.wanted.unit_id),
        page_size=10,
        show_column_summaries=False,
        show_data_types=False,
        show_download=False,
        show_search=False,
        wrapped_columns=list(WRAPPED),
        column_widths=COLUMN_WIDTHS,
        label=f"{page.total:,} pairs; select one to see it below",
        on_change=keeping_pair(location, page),
    )
    table
    return page, table


@app.cell(hide_code=True)
def _(
    lake,
    load_pair,
    location,
    mo,
    page,
    render_links,
    render_message,
    render_pair,
    selected_pair,
    table,
    version,
):
    _unit = selected_pair(page, table.value, location.wanted.unit_id)
    mo.stop(_unit is None, mo.Html(render_message("Select a pair in the table to see both sides.")))
    mo.vstack(
        [
            mo.Html(render_links(version.value, _unit)),
            mo.Html(render_pair(load_pair(lake, version.value, _unit))),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
