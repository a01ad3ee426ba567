-- The newest registration of each experiment.
-- of: experiments
-- grain: one experiment
SELECT *
FROM experiments_history
QUALIFY row_number() OVER (PARTITION BY experiment ORDER BY registered_at DESC) = 1
