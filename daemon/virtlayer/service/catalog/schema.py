# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of the catalog. Script n migrates a file of version n to version n + 1.

Up to version 8, the catalog was the only storage of the service. From version 9 on, it has a copy
of the records of the pools, and data of this host only. The data of an older catalog are kept as
records without a file, which are not written yet.
"""

MIGRATIONS = (
    """
    CREATE TABLE image (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        pool         TEXT NOT NULL,
        name         TEXT NOT NULL,
        source       TEXT NOT NULL,
        digest       TEXT NOT NULL,
        image_id     TEXT NOT NULL,
        os           TEXT NOT NULL,
        architecture TEXT NOT NULL,
        variant      TEXT NOT NULL,
        config       TEXT NOT NULL,
        size         INTEGER NOT NULL,
        volume       TEXT NOT NULL,
        pulled_at    INTEGER NOT NULL,
        UNIQUE (pool, name)
    ) STRICT;
    CREATE TABLE layer (
        image    INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL,
        volume   TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        PRIMARY KEY (image, position)
    ) STRICT;
    CREATE TABLE volume (
        pool TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
    """
    CREATE TABLE version (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        pool        TEXT NOT NULL,
        name        TEXT NOT NULL,
        source      TEXT NOT NULL,
        digest      TEXT NOT NULL,
        config      TEXT NOT NULL,
        volume      TEXT NOT NULL,
        pulled_at   INTEGER NOT NULL,
        replaced_at INTEGER NOT NULL,
        kept        INTEGER NOT NULL,
        UNIQUE (pool, name, volume)
    ) STRICT;
    CREATE TABLE version_volume (
        version  INTEGER NOT NULL REFERENCES version (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        volume   TEXT NOT NULL,
        PRIMARY KEY (version, position)
    ) STRICT;
    CREATE TABLE visit (
        pool    TEXT NOT NULL,
        name    TEXT NOT NULL,
        at      INTEGER NOT NULL,
        error   TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
    """
    CREATE TABLE origin (
        pool   TEXT NOT NULL,
        volume TEXT NOT NULL,
        inode  INTEGER NOT NULL,
        image  TEXT NOT NULL,
        source TEXT NOT NULL,
        digest TEXT NOT NULL,
        config TEXT NOT NULL,
        PRIMARY KEY (pool, volume)
    ) STRICT;
    """,
    """
    ALTER TABLE volume ADD COLUMN below TEXT NOT NULL DEFAULT '';
    CREATE TABLE built_layer (
        pool     TEXT NOT NULL,
        volume   TEXT NOT NULL,
        position INTEGER NOT NULL,
        diff_id  TEXT NOT NULL,
        blob     TEXT NOT NULL,
        bytes    INTEGER NOT NULL,
        PRIMARY KEY (pool, volume, position),
        FOREIGN KEY (pool, volume) REFERENCES volume (pool, name) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX built_layer_by_diff_id ON built_layer (pool, diff_id);
    CREATE INDEX built_layer_by_blob ON built_layer (blob);
    CREATE TABLE confirmed (
        blob    TEXT NOT NULL,
        diff_id TEXT NOT NULL,
        PRIMARY KEY (blob, diff_id)
    ) STRICT;
    """,
    """
    CREATE TABLE puller (
        pool   TEXT NOT NULL,
        digest TEXT NOT NULL,
        source TEXT NOT NULL,
        uid    INTEGER NOT NULL,
        PRIMARY KEY (pool, digest, source, uid)
    ) STRICT;
    CREATE INDEX image_by_digest ON image (pool, digest);
    CREATE INDEX version_by_digest ON version (pool, digest);
    CREATE INDEX origin_by_digest ON origin (pool, digest);
    """,
    """
    CREATE TABLE owner (
        digest TEXT NOT NULL,
        kind   TEXT NOT NULL,
        name   TEXT NOT NULL,
        PRIMARY KEY (digest, kind, name)
    ) STRICT;
    """,
    """
    ALTER TABLE image ADD COLUMN policy_scope TEXT NOT NULL DEFAULT '';
    ALTER TABLE image ADD COLUMN unsigned_accepted INTEGER NOT NULL DEFAULT 1;
    """,
    "ALTER TABLE origin ADD COLUMN id_base INTEGER;",
    """
    CREATE TABLE record (
        pool  TEXT NOT NULL,
        kind  TEXT NOT NULL,
        name  TEXT NOT NULL,
        file  TEXT,
        stamp TEXT,
        PRIMARY KEY (pool, kind, name)
    ) STRICT;
    CREATE UNIQUE INDEX record_by_file ON record (pool, file);
    CREATE TABLE bad_record (
        pool   TEXT NOT NULL,
        file   TEXT NOT NULL,
        stamp  TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (pool, file)
    ) STRICT;
    INSERT INTO record (pool, kind, name) SELECT pool, 'image', name FROM image;
    INSERT INTO record (pool, kind, name) SELECT pool, 'layer', name FROM volume;
    INSERT INTO record (pool, kind, name)
        SELECT pool, iif(id_base IS NULL, 'disk', 'directory'), volume FROM origin;

    ALTER TABLE version RENAME TO old_version;
    ALTER TABLE version_volume RENAME TO old_version_volume;
    DROP INDEX version_by_digest;
    CREATE TABLE version (
        id          INTEGER PRIMARY KEY,
        pool        TEXT NOT NULL,
        name        TEXT NOT NULL,
        position    INTEGER NOT NULL,
        source      TEXT NOT NULL,
        digest      TEXT NOT NULL,
        config      TEXT,
        volume      TEXT NOT NULL,
        pulled_at   INTEGER NOT NULL,
        replaced_at INTEGER NOT NULL,
        kept        INTEGER NOT NULL,
        UNIQUE (pool, name, position)
    ) STRICT;
    CREATE TABLE version_volume (
        version  INTEGER NOT NULL REFERENCES version (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        volume   TEXT NOT NULL,
        PRIMARY KEY (version, position)
    ) STRICT;
    INSERT INTO version
        SELECT id, pool, name,
            row_number() OVER (PARTITION BY pool, name ORDER BY replaced_at DESC, id DESC),
            source, digest, config, volume, pulled_at, replaced_at, kept
        FROM old_version WHERE (pool, name) IN (SELECT pool, name FROM image);
    INSERT INTO version_volume
        SELECT version, position, volume FROM old_version_volume
        WHERE version IN (SELECT id FROM version);
    DROP TABLE old_version_volume;
    DROP TABLE old_version;

    ALTER TABLE puller RENAME TO old_puller;
    CREATE TABLE puller (
        pool   TEXT NOT NULL,
        kind   TEXT NOT NULL,
        name   TEXT NOT NULL,
        digest TEXT NOT NULL,
        source TEXT NOT NULL,
        uid    INTEGER NOT NULL,
        PRIMARY KEY (pool, digest, source, uid, kind, name)
    ) STRICT;
    CREATE INDEX puller_by_record ON puller (pool, kind, name);
    INSERT INTO puller SELECT pool, 'image', image.name, digest, source, uid
        FROM image JOIN old_puller USING (pool, digest, source);
    INSERT OR IGNORE INTO puller SELECT pool, 'image', version.name, digest, source, uid
        FROM version JOIN old_puller USING (pool, digest, source);
    INSERT INTO puller
        SELECT pool, iif(id_base IS NULL, 'disk', 'directory'), volume, digest, source, uid
        FROM origin JOIN old_puller USING (pool, digest, source);
    DROP TABLE old_puller;

    ALTER TABLE origin RENAME TO old_origin;
    DROP INDEX origin_by_digest;
    CREATE TABLE origin (
        pool    TEXT NOT NULL,
        kind    TEXT NOT NULL,
        name    TEXT NOT NULL,
        inode   TEXT,
        image   TEXT NOT NULL,
        source  TEXT NOT NULL,
        digest  TEXT NOT NULL,
        config  TEXT NOT NULL,
        top     TEXT,
        id_base INTEGER,
        PRIMARY KEY (pool, kind, name)
    ) STRICT;
    INSERT INTO origin
        SELECT pool, iif(id_base IS NULL, 'disk', 'directory'), volume, inode, image, source,
            digest, config, NULL, id_base
        FROM old_origin;
    DROP TABLE old_origin;

    CREATE TABLE pool_owner (
        pool        TEXT NOT NULL,
        record_kind TEXT NOT NULL,
        record_name TEXT NOT NULL,
        digest      TEXT NOT NULL,
        kind        TEXT NOT NULL,
        name        TEXT NOT NULL,
        PRIMARY KEY (pool, digest, kind, name, record_kind, record_name)
    ) STRICT;
    CREATE INDEX pool_owner_by_record ON pool_owner (pool, record_kind, record_name);
    INSERT INTO pool_owner SELECT pool, 'image', image.name, owner.digest, kind, owner.name
        FROM image JOIN owner ON owner.digest = image.image_id;
    INSERT OR IGNORE INTO pool_owner SELECT pool, 'layer', volume, owner.digest, kind, owner.name
        FROM built_layer JOIN owner ON owner.digest = blob;
    """,
    """
    ALTER TABLE origin ADD COLUMN disk TEXT;
    ALTER TABLE origin ADD COLUMN machine TEXT;
    """,
    "ALTER TABLE volume ADD COLUMN identity INTEGER;",
    """
    CREATE TABLE boot (
        pool    TEXT NOT NULL,
        name    TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (pool, name)
    ) STRICT;
    """,
    """
    CREATE INDEX image_by_image_id ON image (image_id);
    CREATE INDEX image_by_volume ON image (pool, volume);
    """,
)
"""Released scripts are never changed."""
