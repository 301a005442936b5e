-- The one spelling of 0038, of what it left out: recipients of messages that wait, which a STOP would
-- miss, and numbers and blocks on safe lists, which no recipient would be found by.
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

UPDATE messages SET recipient = pg_temp.spelled(recipient)
 WHERE waiting IS NOT NULL AND recipient <> pg_temp.spelled(recipient);

-- A block of Mexican mobiles need not be ten digits long.
CREATE FUNCTION pg_temp.spelled_block(number text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(pg_temp.spelled(number), '^\+52(?:1|01|04[45])(?=[0-9]{2})', '+52')
$$;
-- The oldest of those that become the same stays.
DELETE FROM safe_list AS s USING safe_list AS older
 WHERE s.account_id = older.account_id AND s.id > older.id
   AND pg_temp.spelled_block(s.phone_number) = pg_temp.spelled_block(older.phone_number);
UPDATE safe_list SET phone_number = pg_temp.spelled_block(phone_number)
 WHERE phone_number <> pg_temp.spelled_block(phone_number);

DROP FUNCTION pg_temp.spelled_block, pg_temp.spelled;
