SELECT count(*) > 0 FROM ledger WHERE query_id = $query_id AND batch_id = $batch_id
