"""References to secrets: read strictly, filled in for where they stand, and known in every form that comes back."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.secrets import LONGEST, SHORTEST, forms, in_body, in_header, in_url, references, refers, unusable
from watcher.core.units import Invalid

VALUE = 'p"ä ss/4&7=1\\1%'
"""Has something in it that each way of writing must escape."""


def value(name: str) -> str:
    assert name == "one"
    return VALUE


def test_the_names_in_a_text_are_found_in_order() -> None:
    assert list(references("Bearer {{ secrets.a-b_c.9 }}, {{secrets.A}} {{ color }} {{ secretsauce }}")) == [
        "a-b_c.9",
        "A",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{{ secret.one }}",
        "{{ secrets }}",
        "{{ secrets.one",
        "{{ secrets.one }",
        "{{ secrets.a/b }}",
        "{{ secrets...one }}",
        "{{ secrets.one two }}",
        "{{ Secrets.one }}",
        "{{ secrets.ä }}",
    ],
)
def test_what_is_meant_as_a_reference_and_is_none_is_refused_with_a_cure(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        list(references(f"x {text} y"))
    assert "{{ secrets.NAME }}" in refused.value.cure
    assert not refers(text)


def test_a_header_has_the_value_as_it_is() -> None:
    assert in_header("Bearer {{ secrets.one }}", value) == f"Bearer {VALUE}"


def test_in_an_address_a_value_cannot_become_more_than_a_part_of_it() -> None:
    parts = urlsplit(in_url("https://u:{{ secrets.one }}@h.example/{{secrets.one}}?k={{ secrets.one }}&l=2", value))
    assert (parts.hostname, parts.path.count("/")) == ("h.example", 1)
    assert unquote(parts.password or "") == VALUE
    assert unquote(parts.path) == f"/{VALUE}"
    assert parse_qs(parts.query) == {"k": [VALUE], "l": ["2"]}


def test_an_address_that_is_a_secret_as_a_whole_stands_as_it_is() -> None:
    assert in_url(" {{ secrets.one }} ", value) == VALUE


@pytest.mark.parametrize("kind", [{}, {"content-type": "application/json; charset=utf-8"}])
def test_in_json_a_value_is_one_text(kind: dict[str, str]) -> None:
    assert json.loads(in_body('{"a": "x{{ secrets.one }}"}', kind, value)) == {"a": f"x{VALUE}"}


def test_in_a_form_a_value_is_one_field() -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert parse_qs(in_body("a={{ secrets.one }}&b=2", kind, value)) == {"a": [VALUE], "b": ["2"]}


def test_in_any_other_body_a_value_stands_as_it_is() -> None:
    assert in_body("{{ secrets.one }}", {"Content-Type": "text/plain"}, value) == VALUE


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"x" * (SHORTEST - 1), "fewer than"),
        (b"x" * (LONGEST + 1), "more than"),
        (b"\xff" * 10, "no text"),
        (b"secret\r\nX-Evil: 1", "more than one line"),
        (b"secret\x00", "control characters"),
    ],
)
def test_what_cannot_be_sent_is_no_secret(content: bytes, why: str) -> None:
    assert why in unusable(content)


def test_a_line_with_its_end_is_a_secret() -> None:
    assert unusable(b"Bearer abcdef\r\n") == ""


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=SHORTEST).filter(lambda t: t == t.strip()))
def test_every_form_of_a_value_is_known(text: str) -> None:
    if len(text) < SHORTEST:
        return
    known = forms(text)
    raw = text.encode()
    written = [text, quote(text, safe=""), quote_plus(text), html.escape(text), json.dumps(text)[1:-1], raw.hex()]
    written += [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    for one in written:
        assert any(form in one for form in known), one


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_a_value_inside_of_a_base64_text_is_known(before: bytes, after: bytes) -> None:
    inside = base64.b64encode(before + b"s3cr3t-0815" + after).decode()
    assert any(form in inside for form in forms("s3cr3t-0815"))


def test_the_long_words_of_a_value_are_known_by_themselves_and_the_short_ones_are_not() -> None:
    known = forms("Bearer abcdefgh token")
    assert "abcdefgh" in known
    assert not {"Bearer", "token"} & known


def test_an_address_is_known_by_the_parts_that_give_it_away_and_not_by_its_words() -> None:
    known = forms("https://jane:p%40ssword@hooks.example/services/T000/B1aXyZ/Zk3jvmQp?key=wordless7")
    assert {"p@ssword", "Zk3jvmQp", "wordless7", "/services/T000/B1aXyZ/Zk3jvmQp"} <= known
    assert not {"services", "https", "hooks.example", "jane"} & known
    assert "//[secret" not in forms("http://[secret")
    assert "/a/b/c/d" not in forms("ftp://x/a/b/c/d")
