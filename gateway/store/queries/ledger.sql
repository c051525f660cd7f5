-- name: insert_postings
INSERT INTO ledger (posting_id, attempt_id, kind, amount_nano_usd, day, counters, at, body)
SELECT p.posting_id, p.attempt_id, p.kind, p.amount_nano_usd,
       coalesce(p.day, a.day, p.at::date), p.counters, p.at, p.body
FROM json_populate_recordset(NULL::ledger, %(rows)s::json) AS p
LEFT JOIN attempts AS a ON a.attempt_id = p.attempt_id
ON CONFLICT DO NOTHING

-- name: insert_switch_events
INSERT INTO switch_events (key, name, old, new, expires_at, at, epoch, seq)
SELECT key, name, old, new, expires_at, at, epoch, seq
FROM json_populate_recordset(NULL::switch_events, %(rows)s::json)
ON CONFLICT DO NOTHING

-- name: insert_alerts
INSERT INTO events (key, rule, scope, evidence, at, epoch, seq, state, severity)
SELECT key, rule, scope, evidence, at, epoch, seq, state, severity
FROM json_populate_recordset(NULL::events, %(rows)s::json)
ON CONFLICT DO NOTHING

-- name: insert_top_ups
INSERT INTO top_ups
SELECT * FROM json_populate_recordset(NULL::top_ups, %(rows)s::json)
ON CONFLICT DO NOTHING

-- name: set_drained_mark
INSERT INTO epochs AS e (epoch, state, drained_seq, opened_at) VALUES (%(epoch)s, 'open', %(seq)s, now())
ON CONFLICT (epoch) DO UPDATE SET drained_seq = excluded.drained_seq
WHERE e.drained_seq < excluded.drained_seq

-- name: drained_mark
SELECT epoch, drained_seq FROM epochs WHERE drained_seq > 0 ORDER BY epoch DESC LIMIT 1

-- name: insert_dead_event
INSERT INTO dead_events (key, kind, event, error)
VALUES (%(key)s, %(kind)s, %(event)s::json, %(error)s)
ON CONFLICT DO NOTHING

-- name: insert_dead_event_alert
INSERT INTO events (key, rule, scope, evidence)
VALUES (%(key)s, 'dead_event', 'ledger', %(evidence)s::jsonb)
ON CONFLICT DO NOTHING

-- name: count_dead_events
SELECT count(*) AS events FROM dead_events
