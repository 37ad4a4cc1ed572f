"""Proves from a topic and from a lake, and from nothing of the program's own, that each committed
message came once. Prints what is wrong as JSON: every number is zero where nothing is."""

import glob
import json
import sys

import duckdb

root = sys.argv[1]
db = duckdb.connect()
columns = "{partition: 'BIGINT', position: 'BIGINT', value: 'VARCHAR'}"
db.execute(f"CREATE TABLE topic AS FROM read_json('{root}/topic.ndjson', columns = {columns})")
db.execute(
    f"""CREATE TABLE lake AS
        SELECT _partition::BIGINT AS partition, _position AS position, _version AS version, content
        FROM read_parquet('{root}/lake/**/*.parquet', hive_partitioning = false)"""
)
letters = f"read_json('{root}/letters/*.ndjson.zst', columns = {{partition: 'BIGINT', position: 'BIGINT'}})"
empty = "(SELECT 0::BIGINT AS partition, 0::BIGINT AS position WHERE false)"
source = letters if glob.glob(f"{root}/letters/*.ndjson.zst") else empty
db.execute(f"CREATE TABLE letters AS SELECT partition, position FROM {source}")
db.execute("CREATE VIEW kept AS SELECT partition, position FROM lake UNION ALL FROM letters")


def count(query):
    return db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]


print(
    json.dumps(
        {
            "lost": count("SELECT partition, position FROM topic EXCEPT FROM kept"),
            "made up": count("FROM kept EXCEPT SELECT partition, position FROM topic"),
            "doubled": count("SELECT 1 FROM kept GROUP BY partition, position HAVING count(*) > 1"),
            "wrong letters": count("FROM letters JOIN topic USING (partition, position) WHERE json_valid(value)"),
            "poison kept as rows": count("FROM lake JOIN topic USING (partition, position) WHERE NOT json_valid(value)"),
            "changed": count(
                """FROM lake JOIN topic USING (partition, position)
                   WHERE content IS DISTINCT FROM CASE WHEN json_valid(value) THEN value ->> '$.content' END"""
            ),
            "out of order": count(
                """SELECT version - lag(version) OVER (PARTITION BY partition ORDER BY position) AS step
                   FROM lake QUALIFY step <= 0"""
            ),
        }
    )
)
