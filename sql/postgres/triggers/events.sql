-- Append-only triggers of the events table, its partitions and the registry.
SELECT refold.protect_table(p.relid) FROM pg_partition_tree('refold.events') AS p ORDER BY p.level, p.relid::text;
SELECT refold.protect_table('refold.event_types');
