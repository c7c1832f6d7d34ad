"""Tasks that evaluate the sets of one builder alone."""

from typing import Any, ClassVar

from lavis_tldr.tasks.finite_outputs import finite_outputs


class EvaluatesOwnSets:
    """Of a LAVIS task: it refuses other sets before the first sample, and outputs that are no numbers.

    Attributes:
        BUILDER: Name of the dataset builder; the task's own name, too.
        EVALUATED: Of what kind its evaluation sets are.
    """

    BUILDER: ClassVar[str]
    EVALUATED: ClassVar[type]
    _dataset: Any = None  # that is evaluated

    def before_evaluation(self, model, dataset, **kwargs) -> None:
        """Take the set that is evaluated next.

        Raises:
            ValueError: If it is of another builder.
        """
        if not isinstance(dataset, self.EVALUATED):
            raise ValueError(
                f"the task {self.BUILDER} evaluates sets of the builder {self.BUILDER}, not {type(dataset).__name__}: "
                f"give datasets.{self.BUILDER} a val or test."
            )
        super().before_evaluation(model, dataset, **kwargs)
        self._dataset = dataset

    def evaluation(self, model, data_loader, cuda_enabled: bool = True) -> list[dict]:
        with finite_outputs(model):
            return super().evaluation(model, data_loader, cuda_enabled=cuda_enabled)
