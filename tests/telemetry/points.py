"""What a reader collected, as plain values."""

from __future__ import annotations


def points(reader, metric):
    """Return {sorted attributes as a frozenset: data point} of one metric."""
    data = reader.get_metrics_data()
    return {
        frozenset(point.attributes.items()): point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for each in scope.metrics
        if each.name == metric
        for point in each.data.data_points
    }


def values(reader, metric, *labels):
    """Return {values of `labels`, or the one value: figure} of one metric; points without a label have None there."""
    found = {}
    for attributes, point in points(reader, metric).items():
        told = dict(attributes)
        key = tuple(told.get(label) for label in labels)
        assert key not in found, f"two points of {metric} are alike in {labels}"
        found[key if len(labels) != 1 else key[0]] = point.value
    return found
