-- name: unnoticed_events
SELECT key, rule, scope, evidence, at, state, severity, epoch, seq FROM events
WHERE noticed_at IS NULL ORDER BY at, epoch, seq, key LIMIT %(limit)s

-- name: unnoticed_switch_events
SELECT key, name, old, new, expires_at, at, epoch, seq FROM switch_events
WHERE noticed_at IS NULL ORDER BY at, epoch, seq, key LIMIT %(limit)s

-- name: notice_events
UPDATE events SET noticed_at = now() WHERE key = ANY(%(keys)s) AND noticed_at IS NULL

-- name: notice_switch_events
UPDATE switch_events SET noticed_at = now() WHERE key = ANY(%(keys)s) AND noticed_at IS NULL

-- One at a time for each fingerprint, so that a sighting is looked for and counted without a gap.
-- name: lock_fingerprint
SELECT pg_advisory_xact_lock(hashtextextended('curb alert ' || %(fingerprint)s, 0))

-- name: alert_of_sighting
SELECT alert_id FROM alert_sightings WHERE event_key = %(key)s

-- name: insert_sighting
INSERT INTO alert_sightings (event_key, alert_id) VALUES (%(key)s, %(id)s) ON CONFLICT DO NOTHING

-- name: lock_open_alert
SELECT * FROM alerts WHERE fingerprint = %(fingerprint)s AND status <> 'resolved' FOR UPDATE

-- name: lock_alert
SELECT * FROM alerts WHERE id = %(id)s FOR UPDATE

-- name: insert_new_alert
INSERT INTO alerts (
    id, fingerprint, rule, severity, scope, agent, team, title, evidence, first_seen, last_seen, ends_at,
    count, generation, look_at
)
VALUES (
    %(id)s, %(fingerprint)s, %(rule)s, %(severity)s, %(scope)s, %(agent)s, %(team)s, %(title)s,
    %(evidence)s::jsonb, %(at)s, %(at)s, %(ends_at)s, 1, 1, %(at)s
)

-- name: count_sighting
UPDATE alerts SET
    count = count + 1,
    first_seen = least(first_seen, %(at)s),
    last_seen = greatest(last_seen, %(at)s),
    ends_at = coalesce(%(ends_at)s, ends_at)
WHERE id = %(id)s

-- What is as severe as before is told by its newest numbers.
-- name: take_over_alert
UPDATE alerts SET
    rule = %(rule)s, severity = %(severity)s, scope = %(scope)s, agent = %(agent)s, team = %(team)s,
    title = %(title)s, evidence = %(evidence)s::jsonb
WHERE id = %(id)s

-- Nobody has acknowledged what it is now.
-- name: worsen_alert
UPDATE alerts SET
    generation = generation + 1, status = 'firing', acknowledged_at = NULL, acknowledged_by = '',
    look_at = %(at)s
WHERE id = %(id)s

-- name: end_alert
UPDATE alerts SET status = 'resolved', resolved_at = %(at)s, resolution = %(resolution)s, look_at = %(at)s
WHERE id = %(id)s AND status <> 'resolved'
RETURNING id

-- name: note_action
UPDATE alerts SET action = %(text)s
WHERE id = (
    SELECT id FROM alerts
    WHERE status <> 'resolved' AND rule = ANY(%(rules)s)
        AND (%(agent)s = '' OR agent = %(agent)s) AND (%(scope)s = '' OR scope = %(scope)s)
    ORDER BY last_seen DESC, id LIMIT 1
)
RETURNING id

-- name: write_decision
UPDATE alerts SET
    status = CASE WHEN %(resolution)s = '' THEN status ELSE 'resolved' END,
    resolved_at = CASE WHEN %(resolution)s = '' THEN NULL ELSE coalesce(resolved_at, %(now)s) END,
    resolution = %(resolution)s,
    told_generation = CASE WHEN %(told)s THEN generation ELSE told_generation END,
    told_at = CASE WHEN %(told)s THEN %(now)s ELSE told_at END,
    last_told_at = CASE WHEN %(told)s OR %(tells)s THEN %(now)s ELSE last_told_at END,
    quiet_until = coalesce(%(quiet_until)s, quiet_until),
    look_at = %(look_at)s
WHERE id = %(id)s

-- name: alert_deliveries
SELECT * FROM deliveries WHERE subject = ANY(%(subjects)s) ORDER BY planned_at, kind, number, channel

-- name: delivery
SELECT * FROM deliveries
WHERE subject = %(subject)s AND kind = %(kind)s AND number = %(number)s AND channel = %(channel)s

-- name: plan_delivery
INSERT INTO deliveries (subject, kind, number, channel, planned_at)
VALUES (%(subject)s, %(kind)s, %(number)s, %(channel)s, %(at)s)
ON CONFLICT DO NOTHING

-- What was delivered stays delivered.
-- name: end_delivery
UPDATE deliveries SET
    state = %(state)s, error = %(error)s, tries = tries + %(tries)s,
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN now() END
WHERE subject = %(subject)s AND kind = %(kind)s AND number = %(number)s AND channel = %(channel)s
    AND state = 'pending'

-- name: give_up_delivery
UPDATE deliveries SET state = 'failed', error = CASE WHEN error = '' THEN %(reason)s ELSE error END
WHERE subject = %(subject)s AND kind = %(kind)s AND number = %(number)s AND channel = %(channel)s
    AND state = 'pending'

-- name: alert
SELECT * FROM alerts WHERE id = %(id)s

-- name: alerts_beginning
SELECT * FROM alerts WHERE starts_with(id, %(prefix)s) ORDER BY id LIMIT %(limit)s

-- name: list_alerts
SELECT * FROM alerts WHERE %(ended)s OR status <> 'resolved'
ORDER BY status = 'resolved', last_seen DESC, id LIMIT %(limit)s

-- name: acknowledge_alert
UPDATE alerts SET
    status = 'acknowledged', acknowledged_at = %(at)s, acknowledged_by = %(by)s, note = %(note)s,
    nudged_at = clock_timestamp()
WHERE id = %(id)s AND status = 'firing'
RETURNING id

-- name: nudged_alerts
SELECT id, nudged_at FROM alerts WHERE nudged_at IS NOT NULL ORDER BY nudged_at LIMIT %(limit)s

-- name: end_nudge
UPDATE alerts SET nudged_at = NULL WHERE id = %(id)s AND nudged_at = %(nudged_at)s

-- name: nudge_open_alerts
UPDATE alerts SET nudged_at = clock_timestamp() WHERE status <> 'resolved'

-- name: overlooked_alerts
SELECT id FROM alerts WHERE look_at < now() - make_interval(secs => %(seconds)s)
ORDER BY look_at LIMIT %(limit)s

-- name: insert_silence
INSERT INTO silences (id, rule, scope, agent, team, until, by, reason)
VALUES (%(id)s, %(rule)s, %(scope)s, %(agent)s, %(team)s, %(until)s, %(by)s, %(reason)s)
ON CONFLICT DO NOTHING

-- name: silences
SELECT id, rule, scope, agent, team, until, by, reason FROM silences
WHERE until > %(now)s ORDER BY until, id

-- name: end_silence
UPDATE silences SET until = now() WHERE starts_with(id, %(prefix)s) AND until > now()
    AND (SELECT count(*) FROM silences WHERE starts_with(id, %(prefix)s) AND until > now()) = 1
RETURNING id, rule, scope, agent, team, until, by, reason
