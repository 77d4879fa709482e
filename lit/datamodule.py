"""LightningDataModule: the data of a project in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.utils.data import DataLoader, Dataset, IterableDataset
from lit.data_hooks import DataHooks
from lit.hparams import HyperparametersMixin

if TYPE_CHECKING:
    from lit.trainer import Trainer


class LightningDataModule(DataHooks, HyperparametersMixin):
    """Where the data comes from: download it, split it, and hand out loaders.

    Override ``prepare_data`` (once, writes to disk), ``setup`` (at the start of each run) and the loaders you need.

    Example:
        >>> from engine.utils.data import DataLoader
        >>> class Numbers(pl.LightningDataModule):
        ...     def setup(self, stage):
        ...         self.numbers = list(range(6))
        ...     def train_dataloader(self):
        ...         return DataLoader(self.numbers, batch_size=3)
        >>> data = Numbers()
        >>> data.setup("fit")
        >>> len(data.train_dataloader())
        2
    """

    CHECKPOINT_HYPER_PARAMS_KEY = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "datamodule_hparams_name"
    name: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.trainer: Trainer | None = None

    @classmethod
    def from_datasets(
        cls,
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> LightningDataModule:
        """A datamodule around datasets (each one a Dataset, or a list or dict of them); training data is shuffled.

        Example:
            >>> from engine.utils.data import TensorDataset
            >>> data = pl.LightningDataModule.from_datasets(TensorDataset(torch.arange(10)), batch_size=4)
            >>> len(data.train_dataloader())
            3
        """

        def loader(dataset: Dataset, shuffle: bool) -> DataLoader:
            shuffle = shuffle and not isinstance(dataset, IterableDataset)
            return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers)

        def loaders(datasets: Any, shuffle: bool) -> Any:
            if isinstance(datasets, Mapping):
                return {name: loader(dataset, shuffle) for name, dataset in datasets.items()}
            if isinstance(datasets, Sequence) and not isinstance(datasets, Dataset):
                return [loader(dataset, shuffle) for dataset in datasets]
            return loader(datasets, shuffle)

        datamodule = cls(**datamodule_kwargs)
        for hook, datasets in (
            ("train_dataloader", train_dataset),
            ("val_dataloader", val_dataset),
            ("test_dataloader", test_dataset),
            ("predict_dataloader", predict_dataset),
        ):
            if datasets is not None:
                shuffle = hook == "train_dataloader"
                setattr(datamodule, hook, lambda d=datasets, s=shuffle: loaders(d, s))
        return datamodule

    def state_dict(self) -> dict[str, Any]:
        """State to keep in checkpoints; empty by default."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""

    def on_exception(self, exception: BaseException) -> None:
        """``exception`` (KeyboardInterrupt included) is ending the run."""

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> LightningDataModule:
        """Rebuild the datamodule from the hyper-parameters and the state in a checkpoint.

        Args:
            checkpoint_path: the file written by the Trainer.
            map_location: where to put tensors among them.
            hparams_file: a YAML or CSV file with hyper-parameters that replace those of the checkpoint.
            weights_only: accepted as in Lightning; a checkpoint never executes anything here.
            **kwargs: arguments that replace saved ones, or that the checkpoint does not hold.
        """
        from lit.checkpoint import rebuild_datamodule

        return rebuild_datamodule(cls, checkpoint_path, map_location, hparams_file, kwargs)
