// Where the writer of a map is: it goes from column to column.
module fs_map (
    input logic clock,
    input logic start,
    input logic next,              // the column is complete
    input fs::map_t map,
    output fs::count_t row,
    output fs::count_t column,
    output fs::address_t neuron,   // the column's first, in the row
    output logic kept,             // somebody has a synapse from this column
    output logic marked,           // a mark follows it
    output logic last              // it is the map's last column
);
  fs::count_t shared;
  logic row_ends;
  assign row_ends = column == map.columns;
  assign last = row_ends && row == map.rows;
  assign kept = fs::address_t'(row) < map.used_rows && fs::address_t'(column) < map.used_columns;
  assign marked = kept && shared == map.pooled;
  always_ff @(posedge clock)
    if (start || (next && last)) {row, column, shared, neuron} <= '0;
    else if (next) begin
      column <= row_ends ? '0 : column + 1'b1;
      if (row_ends) row <= row + 1'b1;
      shared <= row_ends || shared == map.pooled ? '0 : shared + 1'b1;
      if (row_ends) neuron <= '0;
      else if (shared == map.pooled) neuron <= neuron + map.channels;
    end
  logic unused;
  assign unused = &{1'b0, map};
endmodule
