import pytest

from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.scoring import contrastive


@pytest.fixture(scope="module")
def quick_heads():
    """The contrastive scorer's heads are trained for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        options = ProxyOptions(num_steps=120, batch_size=64, learning_rate=5e-3, width=32)
        patch.setattr(contrastive, "_OPTIONS", options)
        yield
