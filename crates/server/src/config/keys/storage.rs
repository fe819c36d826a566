//! The section `[storage]`.

use super::Default::{Absent, Bool, Text};
use super::{Key, Kind, Section, key};

pub(in crate::config) const STORAGE: Section = Section {
    name: "storage",
    repeated: false,
    doc: "Where entries live. docs/operating/durability.md says what each choice keeps.",
    keys: &[
        key(
            "engine",
            Kind::Word(&["disk", "memory", "postgres"]),
            Text("disk"),
            "disk: entries outlive the process, and may be more than fit in memory. memory: a cache;\n\
             nothing outlives the process. postgres is not yet available.",
        ),
        key(
            "data_dir",
            Kind::Path,
            Absent("\"/var/lib/kv\""),
            "The directory of the disk engine, made when it is missing, for its owner alone. One server at\n\
             a time. Absent: $XDG_STATE_HOME/kv/data, else ~/.local/state/kv/data.",
        ),
        key(
            "durability",
            Kind::Word(&["always", "interval", "os"]),
            Text("always"),
            "When a write is acknowledged. always: when it is on the disk; nothing acknowledged is lost.\n\
             interval: when the system has it; a power cut loses what came after the last sync\n\
             (sync_interval). os: the same without syncs of its own; a power cut loses what the system had\n\
             not written by itself. A kill of the process alone loses nothing at any level.",
        ),
        key(
            "sync_interval",
            Kind::Time {
                min_ms: 10,
                max_ms: 60_000,
            },
            Text("1s"),
            "Time between syncs with durability = \"interval\"; without effect otherwise.",
        ),
        key(
            "cache_bytes",
            size(8 << 20, 1 << 46),
            Absent("\"256MiB\""),
            "Memory of the disk engine for entries that are used. Absent: half of memory_limit_bytes, which\n\
             by default is a quarter of the machine's or the control group's memory.",
        ),
        key(
            "base_cache_bytes",
            size(1 << 20, 1 << 46),
            Absent("\"32MiB\""),
            "Memory of the disk engine for blocks of its files. Absent: 32MiB, or an eighth of\n\
             memory_limit_bytes when that is less.",
        ),
        key(
            "log_bytes",
            size(8 << 20, 1 << 44),
            Text("512MiB"),
            "How long the write-ahead log may become before its entries are moved to the ordered files.\n\
             Larger: fewer rewrites of keys that change often, more disk, a longer recovery.",
        ),
        key(
            "min_free_bytes",
            size(1 << 20, 1 << 44),
            Text("256MiB"),
            "Free space of the file system below which writes are refused (DISK_FULL). Reads and deletes go\n\
             on, and writes resume by themselves.",
        ),
        key(
            "readers",
            Kind::Count { min: 1, max: 256 },
            super::Default::Count(4),
            "Threads of the disk engine that load entries which are not in memory.",
        ),
        key(
            "accept_data_loss",
            Kind::Bool,
            Bool(false),
            "Whether to open a data directory that has lost acknowledged writes, without them. For one start,\n\
             after reading docs/operating/durability.md; the flag --accept-data-loss is the better place.",
        ),
        key(
            "memory_limit_bytes",
            size(16 << 20, 1 << 46),
            Absent("\"4GiB\""),
            "The most memory the process plans to use, entries and connections together: from 80 % of it\n\
             on new streams are refused, from 90 % on writes, from 95 % on the largest connections end.\n\
             Absent: half of the machine's or the control group's memory.",
        ),
        EVICTION,
    ],
};

const EVICTION: Key = key(
    "eviction",
    Kind::Word(&["none", "lru", "ttl"]),
    Text("none"),
    "What the memory engine does when its memory is full. none: it refuses writes (OUT_OF_MEMORY).\n\
     lru: it removes entries that were not used for long. ttl: it removes entries that expire, those that\n\
     expire soonest first, and refuses writes when there are none. With lru and ttl entries take at most\n\
     ten per cent less of memory_limit_bytes than limits.memory_refuse_streams_percent, so that nothing is\n\
     refused while something can be removed.",
);

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}
