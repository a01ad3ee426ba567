-- Append-only triggers of the events table, its partitions, the registry and the home log.
SELECT refold.protect_table(p.relid) FROM pg_partition_tree('refold.events') AS p ORDER BY p.level, p.relid::text;
SELECT refold.protect_table('refold.event_types');
SELECT refold.protect_table('refold.home_log');
