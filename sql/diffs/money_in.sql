-- Sum of the numbers that tool-call arguments (JSON text) name as money: members such as amount, refund_amount,
-- total_price, fee or paid_usd, at any depth. Null when none is named. Currencies are not told apart.
-- grain: one scalar
CREATE OR REPLACE TEMP MACRO money_in(recorded) AS list_sum( -- noqa: CP05
    list_transform(
        regexp_extract_all(
            recorded,
            '(?i)"((total|refund|refunded|payment|transfer|order|charge|charged|deposit|unit|credit|discount|paid)_?)?'
            || '(amount|price|cost|fee)(_[a-z]{3})?"\s*:\s*"?(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)"?\s*[,}\]]'
            || '|"\w+_(usd|eur|gbp|chf|cad|aud|inr|jpy)"\s*:\s*"?(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)"?\s*[,}\]]'
        ),
        LAMBDA member: regexp_extract(member, ':\s*"?(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)', 1)::DOUBLE
    )
)
