-- What a checkpoint of Delta's log says of files, and which reader the table needs.
SELECT add.path, add.modificationTime, add.stats, protocol.minReaderVersion
FROM read_parquet({path})
WHERE add.path IS NOT NULL OR protocol.minReaderVersion IS NOT NULL
