"""Reviews by domain: a file each, and no text in two of them."""

import gzip
import json
from pathlib import Path

from bench.gate.reviews import Labelled, distinct_domains, domains_in_folder, in_folder


def put(folder: Path, name: str, *reviews: Labelled) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews)


def test_a_folder_has_a_domain_for_each_file(tmp_path: Path) -> None:
    put(tmp_path, "hotels", ("Clean", 1))
    put(tmp_path, "airlines", ("Late", 0), ("Lost my bag", 0))
    assert domains_in_folder(tmp_path) == {"airlines": [("Late", 0), ("Lost my bag", 0)], "hotels": [("Clean", 1)]}
    assert list(in_folder(tmp_path)) == [("Late", 0), ("Lost my bag", 0), ("Clean", 1)]


def test_a_text_of_two_domains_is_the_first_ones() -> None:
    domains = {"critics": [("Fun!", 1), ("Dull", 0)], "films": [("fun", 0), ("Long", 0), ("", 1)]}
    assert distinct_domains(domains) == {"critics": [("Dull", 0), ("Fun!", 1)], "films": [("Long", 0)]}
