-- Event triggers that guard schema refold. Grain: one event trigger.
SELECT
    t.evtname::text AS name,
    t.evtevent::text AS event,
    t.evtfoid::regproc::text AS function,
    CASE t.evtenabled WHEN 'A' THEN 'always' WHEN 'D' THEN 'disabled' ELSE 'not under replication' END AS enabled
FROM pg_event_trigger AS t
WHERE t.evtname LIKE 'refold\_%'
ORDER BY t.evtname
