-- From device-days to device outcomes: one row a device, for the stage that the table `stage` describes.
-- Columns are qualified, since some engines take a bare name for the alias of the same name.
-- Reads  device_days  (one row a device, day and release), reviews, and stage (one row).
-- Runs as it stands in SQLite, DuckDB, Spark, Trino and ClickHouse; counts leave as DOUBLE, which every engine sums alike. Energy is
-- counted in tenths of a millijoule and drift in millionths, so that sums are whole. Days before the stage on which a device ran the
-- candidate already, at an earlier stage, say nothing of what it was like without. Only who was on the stage's channel can fall silent there.
WITH seen AS (
    SELECT
        d.device AS device,
        d.day AS day,
        CASE WHEN d.day >= s.first_day THEN 1 ELSE 0 END AS during,
        CASE WHEN d.day < s.first_day AND d.release <> s.candidate THEN 1 ELSE 0 END AS untouched,
        CASE WHEN d.day < s.first_day AND d.release = s.candidate THEN 1 ELSE 0 END AS touched,
        CASE WHEN d.channel = s.channel THEN 1 ELSE 0 END AS followed,
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
        d.crash_loops AS crash_loops,
        d.signature_failures AS signature_failures,
        CASE WHEN d.energy_joules IS NULL THEN 0 ELSE d.inferences END AS metered,
        COALESCE(ROUND(CAST(d.energy_joules AS DOUBLE) * CAST(10000 AS DOUBLE)), CAST(0 AS DOUBLE)) AS energy,
        CASE WHEN d.input_drift IS NULL THEN 0 ELSE 1 END AS input_days,
        COALESCE(ROUND(CAST(d.input_drift AS DOUBLE) * CAST(1000000 AS DOUBLE)), CAST(0 AS DOUBLE)) AS input_drift,
        CASE WHEN d.output_drift IS NULL THEN 0 ELSE 1 END AS output_days,
        COALESCE(ROUND(CAST(d.output_drift AS DOUBLE) * CAST(1000000 AS DOUBLE)), CAST(0 AS DOUBLE)) AS output_drift
    FROM device_days d CROSS JOIN stage s
    WHERE d.day <= s.last_day AND d.day >= s.first_day - s.pre_days
),
devices AS (
    SELECT
        w.device AS device,
        MIN(CASE WHEN w.arm > 0 THEN w.arm END) AS lowest,
        MAX(w.arm) AS highest,
        MAX(w.followed) AS followed,
        COUNT(DISTINCT CASE WHEN w.during = 1 THEN w.day END) AS days,
        SUM(CASE WHEN w.arm > 0 THEN w.inferences ELSE 0 END) AS inferences,
        SUM(CASE WHEN w.arm > 0 THEN w.over_budget ELSE 0 END) AS over_budget,
        SUM(CASE WHEN w.arm > 0 THEN w.crashes ELSE 0 END) AS crashes,
        SUM(CASE WHEN w.arm > 0 AND w.crashes > 0 THEN 1 ELSE 0 END) AS crash_days,
        SUM(CASE WHEN w.arm > 0 THEN w.restarts ELSE 0 END) AS restarts,
        SUM(CASE WHEN w.arm > 0 THEN w.shadow_runs ELSE 0 END) AS shadow_runs,
        SUM(CASE WHEN w.arm > 0 THEN w.shadow_agreed ELSE 0 END) AS shadow_agreed,
        SUM(CASE WHEN w.arm > 0 THEN w.crash_loops ELSE 0 END) AS crash_loops,
        SUM(CASE WHEN w.arm > 0 THEN w.signature_failures ELSE 0 END) AS signature_failures,
        SUM(CASE WHEN w.arm > 0 THEN w.energy ELSE CAST(0 AS DOUBLE) END) AS energy,
        SUM(CASE WHEN w.arm > 0 THEN w.metered ELSE 0 END) AS metered,
        SUM(CASE WHEN w.arm > 0 THEN w.input_drift ELSE CAST(0 AS DOUBLE) END) AS input_drift,
        SUM(CASE WHEN w.arm > 0 THEN w.input_days ELSE 0 END) AS input_days,
        SUM(CASE WHEN w.arm > 0 THEN w.output_drift ELSE CAST(0 AS DOUBLE) END) AS output_drift,
        SUM(CASE WHEN w.arm > 0 THEN w.output_days ELSE 0 END) AS output_days,
        SUM(CASE WHEN w.untouched = 1 THEN w.inferences ELSE 0 END) AS pre_inferences,
        SUM(CASE WHEN w.untouched = 1 THEN w.over_budget ELSE 0 END) AS pre_over_budget,
        SUM(CASE WHEN w.untouched = 1 THEN w.energy ELSE CAST(0 AS DOUBLE) END) AS pre_energy,
        SUM(CASE WHEN w.untouched = 1 THEN w.metered ELSE 0 END) AS pre_metered,
        CASE WHEN MAX(w.touched) = 1 THEN 0 ELSE COUNT(DISTINCT CASE WHEN w.during = 0 THEN w.day END) END AS pre_days
    FROM seen w
    GROUP BY w.device
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
        WHEN o.days > 0 OR o.followed = 0 THEN 'neither'
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
    CAST(o.crash_loops AS DOUBLE) AS crash_loops,
    CAST(o.signature_failures AS DOUBLE) AS signature_failures,
    CAST(o.energy AS DOUBLE) AS energy,
    CAST(o.metered AS DOUBLE) AS metered,
    CAST(o.input_drift AS DOUBLE) AS input_drift,
    CAST(o.input_days AS DOUBLE) AS input_days,
    CAST(o.output_drift AS DOUBLE) AS output_drift,
    CAST(o.output_days AS DOUBLE) AS output_days,
    CAST(o.pre_inferences AS DOUBLE) AS pre_inferences,
    CAST(o.pre_over_budget AS DOUBLE) AS pre_over_budget,
    CAST(o.pre_energy AS DOUBLE) AS pre_energy,
    CAST(o.pre_metered AS DOUBLE) AS pre_metered,
    CAST(o.pre_days AS DOUBLE) AS pre_days,
    CAST(COALESCE(r.rating_1, 0) AS DOUBLE) AS rating_1,
    CAST(COALESCE(r.rating_2, 0) AS DOUBLE) AS rating_2,
    CAST(COALESCE(r.rating_3, 0) AS DOUBLE) AS rating_3,
    CAST(COALESCE(r.rating_4, 0) AS DOUBLE) AS rating_4,
    CAST(COALESCE(r.rating_5, 0) AS DOUBLE) AS rating_5
FROM devices o LEFT JOIN ratings r ON r.device = o.device
