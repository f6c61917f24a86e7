"""Countries, regions and postcodes as people and systems write them."""

from __future__ import annotations

import re

import holidays
import numpy as np
import pytest

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.calendars.place_tables import regions
from eta.calendars.places import resolve_country, resolve_region
from eta.calendars.postcodes import region_at, resolve_postcode, resolve_postcode_or_area
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


@pytest.mark.parametrize(
    ("country", "text", "region"),
    [
        ("ES", "ES-B", "CT"),
        ("ES", "b", "CT"),
        ("ES", "Girona", "CT"),
        ("ES", "Comunidad de Madrid", "MD"),
        ("DE", "Bayern", "BY"),
        ("DE", "bavaria", "BY"),
        ("DE", "DE-BY", "BY"),
        ("DE", "Baden Wurttemberg", "BW"),
        ("AT", "AT-9", "9"),
        ("AT", "Wien", "9"),
        ("US", "US-CA", "CA"),
        ("US", "California", "CA"),
        ("US", "State of New York", "NY"),
        ("US", "D.C.", "DC"),
        ("US", "Puerto Rico", "PR"),
        ("GB", "Scotland", "SCT"),
        ("GB", "Surrey", "ENG"),
        ("GB", "UK-WLS", "WLS"),
        ("BR", "sao paulo", "SP"),
        ("CA", "Québec", "QC"),
        ("AU", "New South Wales", "NSW"),
        ("CH", "Genève", "GE"),
        ("JP", "1", "01"),
        ("JP", "東京都", "13"),
        ("IN", "Karnataka", "KA"),
        ("MX", "CDMX", "CMX"),
        ("CN", "Guangdong", "GD"),
        ("FR", "FR-75", "IDF"),
        ("FR", "67", "6AE"),
        ("FR", "La Réunion", "974"),
        ("IT", "Milano", "MI"),
        ("PT", "Lisboa", "11"),
        ("PL", "PL-14", "MZ"),
        ("XK", "ab", "AB"),
    ],
)
def test_a_region_is_one_however_it_is_written(country: str, text: str, region: str) -> None:
    assert resolve_region(country, text) == region


@pytest.mark.parametrize(
    ("country", "text", "hint"),
    [
        ("DE", "Bavria", "did you mean Bavaria (BY)?"),
        ("US", "Californa", "did you mean California (CA)?"),
        ("ES", "GB-ENG", "send its ISO 3166-2 code or its name, or leave it out"),
        ("AT", "10", "send its ISO 3166-2 code or its name, or leave it out"),
        ("XK", "Prishtina", "send its ISO 3166-2 code or its name, or leave it out"),
        ("AT", "", "send its ISO 3166-2 code or its name, or leave it out"),
    ],
)
def test_an_unknown_region_is_refused_with_a_hint(country: str, text: str, hint: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        resolve_region(country, text)
    assert caught.value.field == "region"
    assert caught.value.hint == hint


def test_every_region_with_holidays_of_its_own_can_be_written() -> None:
    for country, subdivisions in holidays.list_supported_countries(include_aliases=False).items():
        for region in subdivisions:
            # Those of Poland are the country's.
            if country != "PL" and re.fullmatch("[A-Z0-9]{1,3}", region):
                assert resolve_region(country, region) == region, (country, region)


def test_the_short_form_of_every_region_is_its_own() -> None:
    for country, listed in regions().items():
        for region in listed.name_of:
            assert resolve_region(country, region) == region, (country, region)
            assert resolve_region(country, f"{country}-{region}") == region, (country, region)


def test_a_province_has_the_holidays_of_its_region() -> None:
    days = PUBLIC_HOLIDAYS.dates("ES", resolve_region("ES", "Barcelona"), 2026, 2026)
    assert np.datetime64("2026-09-11") in days


@pytest.mark.parametrize(
    ("country", "text", "postcode"),
    [
        ("DE", "1050", "01050"),
        ("DE", "D-10115", "10115"),
        ("GB", "sw1a1aa", "SW1A1AA"),
        ("GB", "SW1A 1AA", "SW1A1AA"),
        ("CA", "k1a 0b1", "K1A0B1"),
        ("BR", "01310-100", "01310100"),
        ("BR", "1310100", "01310100"),
        ("BR", "01310", "01310"),
        ("NL", "1234 ab", "1234AB"),
        ("US", "94105-1234", "94105"),
        ("US", "1234", "01234"),
        ("PR", "926", "00926"),
        ("FR", "F-1000", "01000"),
        ("ES", "8001", "08001"),
        ("IT", "118", "00118"),
        ("MX", "6600", "06600"),
        ("PL", "00-950", "00950"),
        ("JP", "１００-0001", "1000001"),  # noqa: RUF001  # as written in Japan
        ("IE", "D02 AF30", "D02AF30"),
        ("HK", "999077", "999077"),
        ("AE", "Box 12", "BOX12"),
    ],
)
def test_a_postcode_has_one_form(country: str, text: str, postcode: str) -> None:
    assert resolve_postcode(country, text) == postcode
    assert resolve_postcode(country, postcode) == postcode


def test_an_area_is_a_postcode_only_in_files() -> None:
    assert resolve_postcode_or_area("DE", "10") == "10"
    assert resolve_postcode_or_area("US", "606") == "606"
    assert resolve_postcode_or_area("US", "1234") == "01234"
    with pytest.raises(InvalidValue, match="'105' is not a postcode of Germany"):
        resolve_postcode_or_area("DE", "105")
    with pytest.raises(InvalidValue, match="'10' is not a postcode of Germany"):
        resolve_postcode("DE", "10")


@pytest.mark.parametrize(
    ("country", "text"),
    [
        *((country, "ABC") for country in ("DE", "US", "FR", "GB", "BR", "JP", "CA", "NL")),
        ("AT", "101"),
        ("DE", "101155"),
        ("US", "606"),
        ("GB", "12345"),
        ("HK", "--"),
        ("ES", "53001"),
    ],
)
def test_an_impossible_postcode_is_refused(country: str, text: str) -> None:
    with pytest.raises(InvalidValue, match=r"^postcode: .* is not a postcode of ") as caught:
        resolve_postcode(country, text)
    assert caught.value.field == "postcode"


@pytest.mark.parametrize(
    ("place", "region"),
    [
        (("US", None, "10001"), "NY"),
        (("US", None, "00901"), "PR"),
        (("US", None, "09012"), "AE"),
        (("US", "CA", "10001"), "CA"),
        (("BR", None, "01310-100"), "SP"),
        (("ES", None, "08001"), "CT"),
        (("CA", None, "K1A 0B1"), "ON"),
        (("AU", None, "0800"), "NT"),
        (("DE", None, "80331"), "BY"),
        (("DE", None, "10115"), "BE"),
        (("DE", None, "07919"), None),
        (("FR", None, "75001"), "IDF"),
        (("FR", None, "67000"), "6AE"),
        (("FR", "GES", "67000"), "6AE"),
        (("MX", None, "77500"), "ROO"),
        (("IN", None, "560001"), "KA"),
        (("AT", None, "1010"), "9"),
        (("GB", None, "EH1 1AA"), "SCT"),
        (("GB", None, "E1 6AN"), "ENG"),
        (("JP", None, "1000001"), "13"),
        (("XX", None, "1"), None),
        ((None, None, "1010"), None),
    ],
)
def test_a_region_follows_from_the_postcode(
    place: tuple[str | None, str | None, str | None], region: str | None
) -> None:
    assert region_at(*place) == region
