-- Sums over usage_hours by one dimension. Hours and days come in their order, all else the dearest first.
-- name: spending_by
SELECT CASE %(by)s
           WHEN 'agent' THEN agent WHEN 'model' THEN deployment WHEN 'provider' THEN provider
           WHEN 'tier' THEN tier WHEN 'team' THEN team WHEN 'feature' THEN feature
           WHEN 'application' THEN application WHEN 'endpoint' THEN endpoint WHEN 'key' THEN key_id
           WHEN 'mode' THEN mode
           WHEN 'hour' THEN to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
           WHEN 'day' THEN day::text WHEN 'month' THEN to_char(day, 'YYYY-MM') ELSE ''
       END AS name,
       sum(cost_nano_usd)::bigint AS cost_nano_usd, sum(attempts)::bigint AS attempts,
       sum(errors)::bigint AS errors, sum(refusals)::bigint AS refusals, sum(cached)::bigint AS cached,
       sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
       sum(cache_read_tokens)::bigint AS cache_read_tokens,
       sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(saved_nano_usd)::bigint AS saved_nano_usd
FROM usage_hours
WHERE day >= %(first_day)s AND day <= %(last_day)s
GROUP BY 1
ORDER BY CASE WHEN %(by)s IN ('hour', 'day', 'month') THEN 0 ELSE -sum(cost_nano_usd) END, 1
LIMIT %(limit)s OFFSET %(offset)s

-- name: spending_of_users
SELECT user_id AS name, sum(cost_nano_usd)::bigint AS cost_nano_usd, sum(attempts)::bigint AS attempts
FROM usage_users
WHERE day >= %(first_day)s AND day <= %(last_day)s AND (%(user)s::text IS NULL OR user_id = %(user)s::text)
GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT %(limit)s OFFSET %(offset)s
