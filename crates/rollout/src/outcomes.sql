-- From device-days to device outcomes: one row a device, for the stage that the table `stage` describes.
-- Reads  device_days  (one row a device, day and release), reviews, and stage (one row).
-- Runs as it stands in SQLite, DuckDB, Spark, Trino and ClickHouse; counts leave as DOUBLE, which every engine sums alike.
WITH seen AS (
    SELECT
        d.device AS device,
        d.day AS day,
        CASE WHEN d.day >= s.first_day THEN 1 ELSE 0 END AS during,
        CASE
            WHEN d.day < s.first_day OR d.channel <> s.channel THEN 0
            WHEN d.cohort = 'treatment' AND d.release = s.candidate THEN 1
            WHEN d.cohort = 'holdback' AND d.release = s.previous THEN 2
            ELSE 0
        END AS arm,
        d.inferences AS inferences,
        d.over_budget AS over_budget,
        d.crashes AS crashes,
        d.restarts AS restarts,
        d.shadow_runs AS shadow_runs,
        d.shadow_agreed AS shadow_agreed,
        d.energy_joules AS energy_joules
    FROM device_days d CROSS JOIN stage s
    WHERE d.day <= s.last_day AND d.day >= s.first_day - s.pre_days
),
devices AS (
    SELECT
        device,
        MIN(CASE WHEN arm > 0 THEN arm END) AS lowest,
        MAX(arm) AS highest,
        COUNT(DISTINCT CASE WHEN during = 1 THEN day END) AS days,
        SUM(CASE WHEN arm > 0 THEN inferences ELSE 0 END) AS inferences,
        SUM(CASE WHEN arm > 0 THEN over_budget ELSE 0 END) AS over_budget,
        SUM(CASE WHEN arm > 0 THEN crashes ELSE 0 END) AS crashes,
        SUM(CASE WHEN arm > 0 AND crashes > 0 THEN 1 ELSE 0 END) AS crash_days,
        SUM(CASE WHEN arm > 0 THEN restarts ELSE 0 END) AS restarts,
        SUM(CASE WHEN arm > 0 THEN shadow_runs ELSE 0 END) AS shadow_runs,
        SUM(CASE WHEN arm > 0 THEN shadow_agreed ELSE 0 END) AS shadow_agreed,
        SUM(CASE WHEN arm > 0 THEN CAST(energy_joules AS DOUBLE) ELSE CAST(0 AS DOUBLE) END) AS energy,
        SUM(CASE WHEN arm > 0 THEN CAST(energy_joules AS DOUBLE) * CAST(energy_joules AS DOUBLE) ELSE CAST(0 AS DOUBLE) END)
            AS energy_squared,
        SUM(CASE WHEN during = 0 THEN inferences ELSE 0 END) AS pre_inferences,
        SUM(CASE WHEN during = 0 THEN over_budget ELSE 0 END) AS pre_over_budget,
        COUNT(DISTINCT CASE WHEN during = 0 THEN day END) AS pre_days
    FROM seen
    GROUP BY device
),
last_reviews AS (
    SELECT
        r.device AS device,
        r.reviewer AS reviewer,
        MAX(r.day * 10 + r.rating) - 10 * MAX(r.day) AS rating
    FROM reviews r CROSS JOIN stage s
    WHERE r.day <= s.last_day AND r.day >= s.first_day AND (r.release = s.candidate OR r.release = s.previous)
    GROUP BY r.device, r.reviewer
),
ratings AS (
    SELECT
        device,
        SUM(CASE WHEN rating = 1 THEN 1 ELSE 0 END) AS rating_1,
        SUM(CASE WHEN rating = 2 THEN 1 ELSE 0 END) AS rating_2,
        SUM(CASE WHEN rating = 3 THEN 1 ELSE 0 END) AS rating_3,
        SUM(CASE WHEN rating = 4 THEN 1 ELSE 0 END) AS rating_4,
        SUM(CASE WHEN rating = 5 THEN 1 ELSE 0 END) AS rating_5
    FROM last_reviews
    GROUP BY device
)
SELECT
    o.device AS device,
    CASE
        WHEN o.lowest <> o.highest THEN 'both'
        WHEN o.highest = 1 THEN 'treatment'
        WHEN o.highest = 2 THEN 'holdback'
        WHEN o.days > 0 THEN 'neither'
        ELSE 'silent'
    END AS cohort,
    CAST(o.days AS DOUBLE) AS days,
    CAST(o.inferences AS DOUBLE) AS inferences,
    CAST(o.over_budget AS DOUBLE) AS over_budget,
    CAST(o.crashes AS DOUBLE) AS crashes,
    CAST(o.crash_days AS DOUBLE) AS crash_days,
    CAST(o.restarts AS DOUBLE) AS restarts,
    CAST(o.shadow_runs AS DOUBLE) AS shadow_runs,
    CAST(o.shadow_agreed AS DOUBLE) AS shadow_agreed,
    CAST(o.energy AS DOUBLE) AS energy,
    CAST(o.energy_squared AS DOUBLE) AS energy_squared,
    CAST(o.pre_inferences AS DOUBLE) AS pre_inferences,
    CAST(o.pre_over_budget AS DOUBLE) AS pre_over_budget,
    CAST(o.pre_days AS DOUBLE) AS pre_days,
    CAST(COALESCE(r.rating_1, 0) AS DOUBLE) AS rating_1,
    CAST(COALESCE(r.rating_2, 0) AS DOUBLE) AS rating_2,
    CAST(COALESCE(r.rating_3, 0) AS DOUBLE) AS rating_3,
    CAST(COALESCE(r.rating_4, 0) AS DOUBLE) AS rating_4,
    CAST(COALESCE(r.rating_5, 0) AS DOUBLE) AS rating_5
FROM devices o LEFT JOIN ratings r ON r.device = o.device
