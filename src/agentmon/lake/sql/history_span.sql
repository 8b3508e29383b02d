SELECT min(window_start) AS first, max(window_end) AS last, max(window_end - window_start) AS widest FROM partials
