from __future__ import annotations

import pytest

from paictl.errors import PaictlError
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def test_a_kind_that_the_cluster_does_not_know_is_told_before_anything_changes(
    stack: Stack, reconciler: Reconciling
) -> None:
    if "externalsecrets" in stack.access.kubectl("api-resources", "--output=name"):
        pytest.skip("this cluster knows ExternalSecrets")
    spec = {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"}, "target": {"name": "it"}}
    extra = stack.made("ConfigMap", "extra", {"data": {"it": "1"}})
    wanted = [extra, stack.made("ExternalSecret", "it", {"spec": spec})]
    with pytest.raises(PaictlError) as failed:
        reconciler().apply(wanting(wanted))
    assert "it knows no ExternalSecret" in failed.value.summary
    assert "externalsecrets.external-secrets.io" in failed.value.help
    assert stack.leftovers() == []
    # What is not there needs no looking for, either.
    reconciler().apply(wanting([extra]))
    assert reconciler().plan(wanting([extra])).empty
