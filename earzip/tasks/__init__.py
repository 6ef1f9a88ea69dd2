"""What each command does with a file: a job in, a record out. Frozen, and pickled for other processes.

Each is an `earzip.batch.events.Task`, beside the selection of files that its command takes. What loads
numpy or torch is imported where it is used, so that commands can be listed, and their help shown,
without them.
"""

from earzip.tasks.compress import CompressTask, require_scaling, sources_to_compress
from earzip.tasks.decode_latents import DecodeLatentsTask, latents_to_decode, plan_tar_samples
from earzip.tasks.evaluate import EvaluateTask
from earzip.tasks.info import InfoTask
from earzip.tasks.latents import LatentsTask, ShardsTask, latents_to_extract, plan_shards
from earzip.tasks.recovery import ProtectTask, RepairTask
from earzip.tasks.restore import RestoreTask, archives_to_restore
from earzip.tasks.status import StatusTask
from earzip.tasks.track import ListTask, Track, read_track
from earzip.tasks.verify import DAMAGED_PICTURES, VerifyTask, lacks_only_pictures

__all__ = [
    "DAMAGED_PICTURES",
    "CompressTask",
    "DecodeLatentsTask",
    "EvaluateTask",
    "InfoTask",
    "LatentsTask",
    "ListTask",
    "ProtectTask",
    "RepairTask",
    "RestoreTask",
    "ShardsTask",
    "StatusTask",
    "Track",
    "VerifyTask",
    "archives_to_restore",
    "lacks_only_pictures",
    "latents_to_decode",
    "latents_to_extract",
    "plan_shards",
    "plan_tar_samples",
    "read_track",
    "require_scaling",
    "sources_to_compress",
]
