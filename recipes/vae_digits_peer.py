"""The yardstick of vae_digits.py: the same network, trained by pythae.

pythae's "bce" of x/16 is the Binomial's −log p(x|z) divided by 16, but for what depends on x alone.
So its `BetaVAE` with β = 1/16 minimises the negative ELBO divided by 16, and nothing of pythae has
to be overridden. Adam takes the same steps for both, once its ε is divided by 16 too.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import BetaVAE, BetaVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn

__all__ = ["pythae_model", "train_by_pythae"]

BITS, ADAM_EPSILON = 16, 1e-8


class Encoder(BaseEncoder):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.layers(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).sigmoid())


def pythae_model(model: Any) -> BetaVAE:
    """pythae's autoencoder with the layers of `model`, which it shares, and its objective."""
    settings = BetaVAEConfig(
        input_dim=(model.encoder[0].in_features,),
        latent_dim=model.latents,
        reconstruction_loss="bce",
        beta=1 / BITS,
    )
    return BetaVAE(settings, Encoder(model.encoder), Decoder(model.decoder))


def train_by_pythae(model: Any, train_set: Tensor, seed: int, options: Any) -> None:
    """Train the layers of `model` by pythae's own loop, as many epochs of as many batches."""
    data = BaseDataset(train_set / BITS, torch.zeros(len(train_set)))
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=options.batch,
            num_epochs=options.epochs,
            learning_rate=options.learning_rate,
            optimizer_params={"eps": ADAM_EPSILON / BITS, "fused": True},
            no_cuda=True,
            seed=seed,
        )
        BaseTrainer(pythae_model(model), data, training_config=settings).train()


@contextlib.contextmanager
def quiet() -> Any:
    """Without pythae's log and progress bars, which would run through the recipe's."""
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
