// A cluster: LANES lanes that compute one tile after the other, each neuron in a register, from its own copies of spikes and marks.
//
// The walker takes a cycle for each run that the tile's kernels may have, and drops empty runs. The streamer takes a cycle for each
// spike of a run. Between them three runs may wait, so that the walker is ahead wherever runs have more than one spike on average.
module fs_cluster #(
    parameter int FIRST_LANE = 0  // number of its first lane in the core
) (
    input logic clock,
    input logic reset,
    input fs::layer_t layer,
    input logic tile_valid,
    input fs::tile_t tile_in,
    output logic tile_ready,
    input fs::write_t write,
    output logic weight_read,
    output fs::address_t weight_row,
    input logic [fs::LANES*fs::WEIGHT_BITS-1:0] weights,  // one cycle later
    output logic ready,                                   // a tile is complete
    output logic [fs::LANES-1:0] waiting,                 // its neurons that are to be sent
    output logic [fs::LANES*fs::MEMBRANE_BITS-1:0] membranes,
    input logic [fs::LANES-1:0] sent,
    input logic done                                      // all are sent
);
  // ---- Walker: from tiles to runs

  fs::tile_t queued, tile;
  logic queued_valid, active;
  fs::window_t corner, at;  // of the site, of the run
  fs::address_t row_base;   // base of the row's first run
  logic beside;             // the source is the shortcut's
  fs::count_t kernel_row, tap, repeats, site_row, site_column;

  fs::input_t source;
  logic go, step, load, last_tap, last_row, closes, ends, last_column;
  assign source = beside ? layer.shortcut : layer.main;
  assign last_tap = tap == source.taps;
  assign last_row = kernel_row == source.kernel_rows;
  assign closes = last_tap && last_row && (beside || !layer.both);
  assign last_column = site_column == layer.site_columns;
  assign ends = closes && last_column && site_row == layer.site_rows;
  assign step = active && go;
  assign load = queued_valid && (!active || (step && ends));
  assign tile_ready = !queued_valid || load;

  fs::window_t next_site;
  always_comb begin
    next_site = corner;
    if (!last_column) begin
      next_site.x = corner.x + layer.site_x;
      next_site.base = corner.base + layer.site_base;
    end else begin
      next_site.x = tile.main.x;
      next_site.base = tile.main.base;
      next_site.y = corner.y + layer.site_y;
      next_site.row = corner.row + layer.site_row;
    end
  end

  always_ff @(posedge clock) begin
    if (reset) queued_valid <= 1'b0;
    else if (tile_ready) queued_valid <= tile_valid;
    if (tile_ready) queued <= tile_in;

    if (reset) active <= 1'b0;
    else if (load) begin
      active <= 1'b1;
      tile <= queued;
      corner <= queued.main;
      at <= queued.main;
      row_base <= queued.main.base;
      beside <= 1'b0;
      {kernel_row, tap, repeats, site_row, site_column} <= '0;
    end else if (step) begin
      if (!last_tap) begin
        tap <= tap + 1'b1;
        at.x <= at.x + source.tap_x;
        at.base <= at.base + source.tap_base;
      end else if (!last_row) begin
        tap <= '0;
        kernel_row <= kernel_row + 1'b1;
        at.y <= at.y + 1'b1;
        at.row <= at.row + source.pitch;
        at.x <= beside ? tile.shortcut.x : corner.x;
        if (repeats != source.repeats) begin
          repeats <= repeats + 1'b1;
          at.base <= row_base;
        end else begin
          repeats <= '0;
          at.base <= at.base + source.row_base;
          row_base <= at.base + source.row_base;
        end
      end else begin
        {kernel_row, tap, repeats} <= '0;
        if (!closes) begin
          beside <= 1'b1;
          at <= tile.shortcut;
          row_base <= tile.shortcut.base;
        end else if (!ends) begin
          beside <= 1'b0;
          corner <= next_site;
          at <= next_site;
          row_base <= next_site.base;
          site_column <= last_column ? '0 : site_column + 1'b1;
          if (last_column) site_row <= site_row + 1'b1;
        end else active <= 1'b0;
      end
    end
  end

  // The run's marks, cut to the map.
  fs::position_t left, right, end_x;
  logic on_map;
  assign end_x = at.x + fs::position_t'(source.span);
  assign left = at.x < 0 ? '0 : at.x;
  assign right = end_x > fs::position_t'(source.pitch) ? fs::position_t'(source.pitch) : end_x;
  assign on_map = at.y >= 0 && at.y < fs::position_t'(source.rows) && left < right;

  fs::address_t begin_mark, end_mark;
  logic [2*fs::ADDRESS_BITS-1:0] mark_values;
  for (genvar m = 0; m < 2; m++) begin : marks
    fs_ram #(
        .WIDTH(fs::ADDRESS_BITS),
        .DEPTH(fs::MARKS)
    ) ram (
        .clock,
        .write(write.mark),
        .write_address(write.mark_address),
        .write_value(write.mark_value),
        .read(step),
        .read_address(at.row + (m == 0 ? left : right)),
        .value(mark_values[m*fs::ADDRESS_BITS+:fs::ADDRESS_BITS])
    );
  end
  assign {end_mark, begin_mark} = mark_values;

  // ---- Runs: what lies between two marks; `held` until it is known whether it is the last of its site; two wait in a queue

  struct packed {
    logic valid, on_map, closes, ends;
    fs::address_t base, number;
  } marked, counted;  // with marks, with their difference
  fs::address_t first, count;
  fs::run_t held, second, next, run;
  logic held_valid, second_valid, next_valid, run_valid, full, empty_site, push, pop, issue, finish, reserved;
  assign go = !second_valid;
  assign full = counted.valid && counted.on_map && count != '0;
  assign empty_site = counted.valid && counted.closes && !full && !(held_valid && !held.closes);
  assign push = go && held_valid && (held.closes || full);
  assign finish = issue && run.count == 1;
  assign pop = next_valid && (!run_valid || finish);
  assign issue = run_valid && !(run.ends && run.count == 1 && reserved);

  always_ff @(posedge clock) begin
    if (go) begin
      marked <= {active, on_map, closes, ends, at.base, tile.number};
      counted <= marked;
      first <= begin_mark;
      count <= end_mark - begin_mark;
      if (full || empty_site)
        held <= {first, full ? count : fs::address_t'(1), counted.base, !full, counted.closes, counted.ends, counted.number};
      else if (counted.valid && counted.closes) {held.closes, held.ends} <= {1'b1, counted.ends};
      held_valid <= full || empty_site || (held_valid && !push);
    end
    if (reset) {marked.valid, counted.valid, held_valid} <= '0;

    if (pop || !next_valid) next <= second_valid ? second : held;
    next_valid <= !reset && (push || second_valid || (next_valid && !pop));
    if (push) second <= held;
    second_valid <= !reset && ((push && next_valid && !pop) || (second_valid && !pop));

    if (pop) run <= next;
    else if (issue) begin
      run.first <= run.first + 1'b1;
      run.count <= run.count - 1'b1;
    end
    run_valid <= !reset && (pop || (run_valid && !finish));

    // The lanes keep a complete tile until its neurons are sent.
    reserved <= !reset && ((finish && run.ends) || (reserved && !done));
  end

  // ---- Events: a spike's neuron and level; the weights of its synapses; products; sums

  fs::event_t sent_for, seen, asked, weighed, added, closed;
  fs::level_t level, seen_level, asked_level, weighed_level;
  logic [fs::PLACE_BITS-1:0] neuron, seen_neuron;
  logic [fs::LANES*fs::WEIGHT_BITS-1:0] row;
  fs_ram #(
      .WIDTH(fs::PLACE_BITS + fs::LEVEL_BITS),
      .DEPTH(fs::SPIKES)
  ) spikes (
      .clock,
      .write(write.spike),
      .write_address(write.spike_address),
      .write_value({write.neuron[fs::PLACE_BITS-1:0], write.level}),
      .read(issue),
      .read_address(run.first),
      .value({neuron, level})
  );
  assign weight_read = seen.valid;
  assign weight_row = seen.base + fs::address_t'(seen_neuron);
  always_ff @(posedge clock) begin
    sent_for.valid <= issue;
    sent_for.silent <= run.silent;
    sent_for.closes <= layer.each || (run.closes && run.count == 1);
    sent_for.ends <= run.ends && run.count == 1;
    sent_for.base <= run.base;
    sent_for.number <= run.number;
    seen <= sent_for;
    {seen_neuron, seen_level} <= {neuron, sent_for.silent ? fs::level_t'(0) : level};
    asked <= seen;
    asked_level <= seen_level;
    weighed <= asked;
    {row, weighed_level} <= {weights, asked_level};
    added <= weighed;
    closed <= added;
    if (reset) {sent_for.valid, seen.valid, asked.valid, weighed.valid, added.valid, closed.valid} <= '0;
  end

  // `renew`: the next spike is the first of its site; `fresh`: the next site is the first of its tile.
  logic renew, fresh;
  logic [fs::LANES*fs::MEMBRANE_BITS-1:0] starts;
  fs_rom #(
      .WIDTH(fs::LANES * fs::MEMBRANE_BITS),
      .DEPTH(fs::TILES),
      .FILE ("starts.mem")
  ) start_table (
      .clock,
      .read(weighed.valid),
      .address(weighed.number),
      .value(starts)
  );
  for (genvar i = 0; i < fs::LANES; i++) begin : lanes
    fs_lane #(
        .MULTIPLIER(FIRST_LANE + i < fs::MULTIPLIERS)
    ) lane (
        .clock,
        .weight(row[i*fs::WEIGHT_BITS+:fs::WEIGHT_BITS]),
        .level(weighed_level),
        .start(starts[i*fs::MEMBRANE_BITS+:fs::MEMBRANE_BITS]),
        .add(added.valid),
        .renew,
        .close(closed.valid && closed.closes),
        .fresh,
        .take(closed.valid && closed.ends),
        .membrane(membranes[i*fs::MEMBRANE_BITS+:fs::MEMBRANE_BITS])
    );
  end

  logic all;
  logic [fs::LANES-1:0] silent, unsent;
  for (genvar s = 0; s < fs::LANES; s++) begin : signs
    assign silent[s] = membranes[(s+1)*fs::MEMBRANE_BITS-1];
  end
  assign all = fs::SKIPS == 0 || layer.readout;
  always_ff @(posedge clock) begin
    if (reset) {renew, fresh} <= '1;
    else begin
      if (added.valid) renew <= added.closes;
      if (closed.valid && closed.closes) fresh <= closed.ends;
    end
    if (reset) ready <= 1'b0;
    else ready <= (closed.valid && closed.ends) || (ready && !done);
    unsent <= (closed.valid && closed.ends) ? '1 : unsent & ~sent;
  end
  assign waiting = unsent & (all ? '1 : ~silent);

  logic unused;
  assign unused = &{1'b0, layer, source, closed, write};
endmodule
