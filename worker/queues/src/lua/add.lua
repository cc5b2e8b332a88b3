-- Adds those of the items that are neither pending nor claimed.
--
-- KEYS    1 pending  2 processing
-- ARGV    rank, item, rank, item, …
-- returns how many were added
return enqueue(1)
