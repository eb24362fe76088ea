"""From the cells of a paper file to jobs, results, tables and the page that is rendered from them."""
