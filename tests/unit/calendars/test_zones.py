"""Zones of territories, and zones within countries."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from eta.calendars.place_tables import read_table, regions
from eta.calendars.zones import COUNTRY_ZONES, zone_of


@pytest.mark.parametrize(
    ("country", "region", "zone"),
    [
        ("US", "GU", "Pacific/Guam"),
        ("US", "PR", "America/Puerto_Rico"),
        ("US", "VI", "America/Puerto_Rico"),
        ("US", "AS", "Pacific/Pago_Pago"),
        ("US", "MP", "Pacific/Guam"),
        ("FR", "974", "Indian/Reunion"),
        ("FR", "971", "America/Guadeloupe"),
        ("FR", "PM", "America/Miquelon"),
        ("NL", "AW", "America/Aruba"),
        ("NL", "CW", "America/Curacao"),
        ("NO", "21", "Arctic/Longyearbyen"),
        ("DK", "GL", "America/Nuuk"),
        ("FI", "01", "Europe/Mariehamn"),
        ("GB", "JE", "Europe/Jersey"),
        ("CN", "HK", "Asia/Hong_Kong"),
        ("ES", "CN", "Atlantic/Canary"),
        ("ES", "CE", "Africa/Ceuta"),
        ("PT", "20", "Atlantic/Azores"),
        ("PT", "30", "Atlantic/Madeira"),
        ("RU", "KGD", "Europe/Kaliningrad"),
        ("RU", "PRI", "Asia/Vladivostok"),
        ("MX", "BCN", "America/Tijuana"),
        ("MX", "ROO", "America/Cancun"),
        ("ID", "BA", "Asia/Makassar"),
        ("ID", "PA", "Asia/Jayapura"),
        ("CL", "MA", "America/Punta_Arenas"),
        ("EC", "W", "Pacific/Galapagos"),
        ("KZ", "47", "Asia/Aqtau"),
        ("MN", "043", "Asia/Hovd"),
        ("CD", "HK", "Africa/Lubumbashi"),
        ("KI", "L", "Pacific/Kiritimati"),
        ("FM", "KSA", "Pacific/Kosrae"),
        ("PG", "NSB", "Pacific/Bougainville"),
        ("NZ", "CIT", "Pacific/Chatham"),
        ("CA", "NU", "America/Iqaluit"),
    ],
)
def test_a_region_has_its_zone(country: str, region: str, zone: str) -> None:
    assert zone_of(country, region) == (zone, "region")


@pytest.mark.parametrize(
    ("country", "postcode", "zone"),
    [
        ("US", "96910", "Pacific/Guam"),
        ("US", "90012", "America/Los_Angeles"),
        ("US", "37902", "America/New_York"),  # Knoxville
        ("US", "37201", "America/Chicago"),  # Nashville
        ("US", "79901", "America/Denver"),  # El Paso
        ("US", "32501", "America/Chicago"),  # Pensacola
        ("US", "46402", "America/Chicago"),  # Gary
        ("US", "97914", "America/Boise"),
        ("ES", "35001", "Atlantic/Canary"),
        ("ES", "51001", "Africa/Ceuta"),
        ("PT", "9500123", "Atlantic/Azores"),
        ("RU", "690001", "Asia/Vladivostok"),
        ("MX", "22000", "America/Tijuana"),
        ("MX", "32000", "America/Ciudad_Juarez"),
        ("ID", "80361", "Asia/Makassar"),
        ("EC", "200350", "Pacific/Galapagos"),
        ("KZ", "130000", "Asia/Aqtau"),
        ("CL", "6200000", "America/Punta_Arenas"),
        ("CL", "2770000", "Pacific/Easter"),
        ("FR", "97400", "Indian/Reunion"),
        ("AU", "2880", "Australia/Broken_Hill"),
        ("AU", "2898", "Australia/Lord_Howe"),
        ("CA", "X0C0A0", "America/Rankin_Inlet"),
        ("GB", "JE23AB", "Europe/Jersey"),
        ("AT", "1010", "Europe/Vienna"),
    ],
)
def test_a_postcode_has_its_zone(country: str, postcode: str, zone: str) -> None:
    assert zone_of(country, None, postcode) == (zone, "postal_code")


@pytest.mark.parametrize(
    ("place", "zone", "source"),
    [
        (("US", "TX", "79901"), "America/Denver", "postal_code"),
        # The region was stated; the postcode of another region does not count.
        (("US", "CA", "79901"), "America/Los_Angeles", "region"),
        (("US", None, "20500"), "America/New_York", "postal_code"),
        # Without a place in it, the country's default is a guess.
        (("US", None, None), "America/New_York", "country_default"),
        (("RU", None, None), "Europe/Moscow", "country_default"),
        (("ID", None, "00000"), "Asia/Jakarta", "country_default"),
        # The armed forces' post may be anywhere.
        (("US", "AE", None), "UTC", "assumed_utc"),
        (("US", None, "96201"), "UTC", "assumed_utc"),
        (("GU", None, None), "Pacific/Guam", "country_default"),
        (("XK", None, None), "Europe/Belgrade", "country_default"),
    ],
)
def test_the_source_of_a_zone_says_what_it_follows_from(
    place: tuple[str, str | None, str | None], zone: str, source: str
) -> None:
    assert zone_of(*place) == (zone, source)


def test_the_table_names_zones_and_regions_that_exist() -> None:
    for row in read_table("zones"):
        assert ZoneInfo(row["zone"]).key == row["zone"]
        assert row["country"] in COUNTRY_ZONES or row["country"] in ("FR", "NL", "NO")
        for region in row["regions"].split():
            assert region in regions()[row["country"]].name_of, row
