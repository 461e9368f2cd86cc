-- The tables that outcomes.sql reads, as they were known when the batch of the stage was the last one.
CREATE TEMP TABLE IF NOT EXISTS stage (
    candidate TEXT, previous TEXT, channel TEXT, first_day INTEGER, last_day INTEGER, pre_days INTEGER, batch INTEGER
);
CREATE TEMP VIEW IF NOT EXISTS device_days AS
SELECT
    d.device, d.day, r.digest AS release,
    CASE d.cohort WHEN 1 THEN 'treatment' WHEN 2 THEN 'holdback' ELSE 'waiting' END AS cohort,
    CASE d.channel WHEN 0 THEN 'beta' ELSE 'general' END AS channel,
    d.inferences, d.over_budget, d.crashes, d.restarts, d.shadow_runs, d.shadow_agreed, d.energy_joules,
    d.input_drift, d.output_drift, d.crash_loops, d.signature_failures
FROM days d JOIN releases r ON r.id = d.release
WHERE d.batch <= (SELECT batch FROM stage);
CREATE TEMP VIEW IF NOT EXISTS reviews AS
SELECT o.reviewer, o.device, o.day, r.digest AS release, o.rating
FROM opinions o JOIN releases r ON r.id = o.release
WHERE o.batch <= (SELECT batch FROM stage);
