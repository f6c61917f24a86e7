"""Countries and regions as people and systems write them."""

from __future__ import annotations

import pytest

from eta.calendars.places import resolve_country
from eta.domain.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "country"),
    [
        *((text, "GB") for text in ("GB", "GBR", "gb", "UK", "United Kingdom", "Great Britain")),
        *((text, "US") for text in ("USA", "U.S.A.", "usa", "United States of America")),
        *((text, "AT") for text in ("AT", " at ", "AUT", "Österreich", "osterreich", "ÖSTERREICH")),
        *((text, "KR") for text in ("KOR", "Korea, Republic of", "Republic of Korea", "대한민국")),
        ("Deutschland", "DE"),
        ("Allemagne", "DE"),
        ("EL", "GR"),
        ("XK", "XK"),
        ("Kosovo", "XK"),
        ("CÔTE D\N{RIGHT SINGLE QUOTATION MARK}IVOIRE", "CI"),
        ("Cote d'Ivoire", "CI"),
        ("Viet Nam", "VN"),
        ("Türkiye", "TR"),
        ("Holland", "NL"),
        ("日本", "JP"),
        ("Niger", "NE"),
        ("Nigeria", "NG"),
        ("Guinea-Bissau", "GW"),
    ],
)
def test_a_country_is_one_however_it_is_written(text: str, country: str) -> None:
    assert resolve_country(text) == country


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Grmany", "did you mean Germany (DE)?"),
        ("Untied Kingdom", "did you mean United Kingdom (GB)?"),
        ("SU", "the code is withdrawn or reserved; send RU or UA or KZ"),
        ("yu", "the code is withdrawn or reserved; send RS or ME"),
        ("AN", "the code is withdrawn or reserved; send CW or SX or BQ"),
        ("IC", "the code is withdrawn or reserved; send ES"),
        ("ZZ", "send its ISO 3166-1 code, such as AT, or its name"),
        ("", "send its ISO 3166-1 code, such as AT, or its name"),
        ("--", "send its ISO 3166-1 code, such as AT, or its name"),
        ("12", "send its ISO 3166-1 code, such as AT, or its name"),
    ],
)
def test_what_is_no_country_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        resolve_country(text)
    assert caught.value.field == "country"
    assert caught.value.problem == f"{text!r} is not a country"
    assert caught.value.hint == hint


def test_a_long_text_is_refused_and_shortened() -> None:
    with pytest.raises(InvalidValue) as caught:
        resolve_country("a" * 100_000)
    assert len(str(caught.value)) < 300
