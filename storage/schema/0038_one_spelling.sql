-- A number has one spelling: what is only dialled within its country (a zero), and the 1 that Mexican
-- mobiles had until 2019, are no part of it. What was kept of numbers spelled otherwise holds for
-- them: blocks and sticky mappings are added, never taken away, so whoever is looked for by a former
-- spelling is found as well.
CREATE FUNCTION pg_temp.spelled(number text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(
        regexp_replace(
            number,
            '^\+(20|27|31|32|33|40|41|43|44|46|49|51|53|54|55|57|58|60|61|62|63|64|66|81|'
            '82|84|86|90|91|92|93|94|95|98|211|212|213|218|231|232|233|234|243|249|'
            '250|251|252|254|255|256|260|261|262|263|264|265|291|353|355|358|359|370|'
            '373|374|377|380|381|382|383|385|386|387|389|421|423|508|590|591|593|594|'
            '595|596|598|686|850|855|856|880|886|961|962|963|964|966|967|970|971|972|'
            '976|977|994|995|996)0+(?=[1-9])',
            '+\1'),
        '^\+52(?:1|01|04[45])([0-9]{10})$', '+52\1')
$$;

INSERT INTO opt_outs (recipient, channel, scope, account_id, source, at)
SELECT pg_temp.spelled(recipient), channel, scope, account_id, source, at FROM opt_outs
 WHERE recipient <> pg_temp.spelled(recipient)
ON CONFLICT DO NOTHING;

INSERT INTO sticky (service_id, channel, recipient, sender_id, first_message, created_at, last_used)
SELECT service_id, channel, pg_temp.spelled(recipient), sender_id, first_message, created_at,
       last_used
  FROM sticky WHERE recipient <> pg_temp.spelled(recipient)
ON CONFLICT DO NOTHING;

UPDATE conversation_participants AS p SET address = pg_temp.spelled(address)
 WHERE address <> pg_temp.spelled(address)
   AND NOT EXISTS (SELECT FROM conversation_participants AS other
                    WHERE other.account_id = p.account_id
                      AND other.address = pg_temp.spelled(p.address)
                      AND other.proxy_address = p.proxy_address);

DROP FUNCTION pg_temp.spelled;
