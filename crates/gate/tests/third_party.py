"""Reads the reports of `check` with readers that others wrote: `third_party.py JUNIT.xml LOG.sarif`.

JUnit XML: junitparser, and that the counts of every suite are those of its cases. SARIF: sarif_om, whose classes were generated from
the published schema of 2.1.0, so that a property that the schema has not, or lacks a required one, is refused.
"""

import json
import sys
import urllib.parse

import sarif_om
from junitparser import Error, Failure, JUnitXml, Skipped

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


def check_junit(path):
    xml = JUnitXml.fromfile(path)
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


def check_sarif(path):
    with open(path, encoding="utf-8") as file:
        text = json.load(file)
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


print("JUnit:", check_junit(sys.argv[1]))
print("SARIF:", check_sarif(sys.argv[2]))
