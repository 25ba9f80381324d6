"""Templates say what a notice holds, and can do nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watcher.core.message_templates import LONGEST, Unrendered, check, render
from watcher.core.notices import sample
from watcher.core.units import Invalid

NOTICE = sample("chat", datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC))


def plain(value: str) -> str:
    return value


def test_a_template_names_everything_that_the_document_has() -> None:
    text = "{{ title }}|{{ at.year }}|{{ evidence.rule }}|{{ look }}\n{% for line in why %}\n* {{ line }}\n{% endfor %}"
    check(text)
    said = render(text, NOTICE, plain)
    assert said.startswith(f"{NOTICE.title}|2026|http/error-rate|kubectl")
    assert said.endswith(f"* {NOTICE.why[0]}")


def test_values_are_made_plain_text_in_the_channels_markup_and_the_templates_own_words_are_not() -> None:
    said = render("<b>{{ message }}</b>{{ evidence.rule }}{{ commands[0] }}", NOTICE, lambda _: "x")
    assert said == "<b>x</b>xx"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("fine\n{{ message", 2, "the template is wrong"),
        ("{% if %}", 1, "the template is wrong"),
        ("a\n{{ message | upcase }}", 2, "upcase"),
        ("a\n\n  {{ version }} {{ verzion }}", 3, "verzion, which no message has"),
        ("{{ zzz }}", 1, "zzz"),
        ("{% include 'etc' %}{{ foo }}", 1, "foo"),
        ("{{ range(9) }}", 1, "range"),
    ],
)
def test_one_that_cannot_work_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        check(text)
    assert caught.value.line == line
    assert caught.value.path == ("template",)


@pytest.mark.parametrize(
    "text",
    [
        "{{ evidence.nothing.more }}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ at.__class__ }}{{ title.__init__.__globals__ }}",
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ title.ljust(1000000000) }}",
        "{{ 'x'.join(why) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ why.append(1) }}",
        "{% include 'passwd' %}",
    ],
)
def test_what_fails_or_reaches_out_over_a_message_is_an_error_that_leaves_the_default_words(text: str) -> None:
    with pytest.raises(Unrendered):
        render(text, NOTICE, plain)


def test_arithmetic_of_a_sane_size_works() -> None:
    assert render("{{ 'ab' * 2 }} {{ 7 % 4 }} {{ 2 * 3 }}", NOTICE, plain) == "abab 3 6"


def test_what_is_too_long_is_cut() -> None:
    endless = "{% for a in title %}{% for b in message %}{{ message }}{% endfor %}{% endfor %}"
    assert len(render(endless, NOTICE, plain)) <= LONGEST
