-- The role that Grafana reads with: the tables and columns of the dashboards, and nothing that people or models
-- said. Run it again after an update; it changes nothing that is as it should be. Its password is set apart.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'curb_grafana') THEN
        CREATE ROLE curb_grafana LOGIN;
    END IF;
END
$$;

ALTER ROLE curb_grafana SET default_transaction_read_only = on;
ALTER ROLE curb_grafana SET statement_timeout = '15s';
ALTER ROLE curb_grafana CONNECTION LIMIT 10;

GRANT SELECT ON llm_usage, usage_users, provider_health, backup_logs TO curb_grafana;
GRANT SELECT (rule, scope, agent, team, user_id, refused, minute, last_at) ON rate_limit_violations TO curb_grafana;
GRANT SELECT (id, agent, team, user_id, mode, status, reason, waiting_for, steps, cost_nano_usd, budget_nano_usd,
              parent, started_at, updated_at, ended_at) ON runs TO curb_grafana;
GRANT SELECT (run_id, step, number, deployment, state, status, error_type, cost_nano_usd, input_tokens, output_tokens,
              cache_read_tokens, cache_write_tokens, at, done_at) ON attempts TO curb_grafana;
GRANT SELECT (run_id, at, kind) ON run_events TO curb_grafana;
