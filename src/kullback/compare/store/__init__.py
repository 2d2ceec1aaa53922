"""Positions on disk: written as a comparison goes, so that an interrupted one goes on.

| file | what it has |
| --- | --- |
| `parts/part-000-00000.parquet`, … | positions of whole windows that a process read, at once |
| `positions.parquet` | all of them in order, once every window is there; the parts are gone then |

Every file says in its metadata which run it belongs to. `schema` is how a position is written
down, `parts` which files there are and what is missing, `folder` whether they can be written.
"""

from kullback.compare.store.folder import check_folder
from kullback.compare.store.parts import PositionStore
from kullback.compare.store.schema import read_batches, token_texts

__all__ = ["PositionStore", "check_folder", "read_batches", "token_texts"]
