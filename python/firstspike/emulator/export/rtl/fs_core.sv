// The core: pixels in, class out. It computes one layer after the other; several clusters compute neighbouring tiles.
//
// The dispatcher hands the tiles of a layer to the clusters in turn, in the order row, column, channel. The collector takes the
// neurons of complete tiles in the same order, only those that fire, one per cycle; their levels go to the list of spikes, of which
// each cluster has a copy. While the last layer runs, the loader takes the next image.
module fs_core (
    input logic clock,
    input logic reset,
    input logic pixel_valid,
    output logic pixel_ready,
    input logic [7:0] pixel,     // in the order row, column, channel
    output logic result_valid,
    input logic result_ready,
    output logic [15:0] result   // the class
);
  localparam int TURN_BITS = fs::CLUSTERS > 1 ? $clog2(fs::CLUSTERS) : 1;
  localparam logic [TURN_BITS-1:0] LAST_TURN = TURN_BITS'(fs::CLUSTERS - 1);

  // ---- Sequencer: one layer after the other

  fs::layer_t layer, layer_entry;
  fs::address_t layer_number;
  logic begins, turns, follows, running, loaded, layer_ends;
  fs_table #(
      .WIDTH($bits(layer_entry)),
      .DEPTH(fs::LAYERS),
      .FILE ("layers.mem")
  ) layer_table (
      .address(layer_number),
      .value(layer_entry)
  );
  assign begins = follows || (loaded && !running && layer_number == '0 && !turns && !result_valid);
  always_ff @(posedge clock) begin
    layer <= layer_entry;
    if (reset) begin
      {running, turns, follows, result_valid} <= '0;
      layer_number <= '0;
    end else begin
      running <= begins || (running && !layer_ends);
      turns <= layer_ends && !layer.readout;
      follows <= turns;
      if (layer_ends) layer_number <= layer.readout ? '0 : layer_number + 1'b1;
      result_valid <= (layer_ends && layer.readout) || (result_valid && !result_ready);
    end
  end

  // ---- Dispatcher: the windows of each tile

  fs::channels_t given;
  fs::tile_t tile;
  fs::window_t main, shortcut;
  fs::count_t given_row, given_column;
  fs::address_t given_tile;
  logic [TURN_BITS-1:0] given_turn;
  logic giving, accepted, row_ends;
  logic [fs::CLUSTERS-1:0] tile_ready;
  fs_table #(
      .WIDTH($bits(given)),
      .DEPTH(fs::TILES),
      .FILE ("tiles.mem")
  ) given_table (
      .address(tile.number),
      .value(given)
  );
  assign tile.number = layer.first_tile + given_tile;
  assign tile.main.y = main.y;
  assign tile.main.x = main.x + given.main_x;
  assign tile.main.row = main.row;
  assign tile.main.base = main.base + given.main_base;
  assign tile.shortcut.y = shortcut.y;
  assign tile.shortcut.x = shortcut.x + given.shortcut_x;
  assign tile.shortcut.row = shortcut.row;
  assign tile.shortcut.base = shortcut.base + given.shortcut_base;
  assign accepted = giving && tile_ready[given_turn];
  assign row_ends = given_column == layer.own.columns;
  always_ff @(posedge clock) begin
    if (reset) giving <= 1'b0;
    else if (begins) giving <= 1'b1;
    else if (accepted && given_tile == layer.tiles && row_ends && given_row == layer.own.rows) giving <= 1'b0;
    if (begins) begin
      {given_row, given_column, given_tile, given_turn} <= '0;
      main <= {layer.main.y, layer.main.x, layer.main.row, layer.main.base};
      shortcut <= {layer.shortcut.y, layer.shortcut.x, layer.shortcut.row, layer.shortcut.base};
    end else if (accepted) begin
      given_turn <= given_turn == LAST_TURN ? '0 : given_turn + 1'b1;
      given_tile <= given_tile == layer.tiles ? '0 : given_tile + 1'b1;
      if (given_tile == layer.tiles) begin
        given_column <= row_ends ? '0 : given_column + 1'b1;
        if (row_ends) begin
          given_row <= given_row + 1'b1;
          main.y <= main.y + layer.main.tile_y;
          main.row <= main.row + layer.main.tile_row;
          shortcut.y <= shortcut.y + layer.shortcut.tile_y;
          shortcut.row <= shortcut.row + layer.shortcut.tile_row;
        end
        main.x <= row_ends ? layer.main.x : main.x + layer.main.tile_x;
        main.base <= row_ends ? layer.main.base : main.base + layer.main.tile_base;
        shortcut.x <= row_ends ? layer.shortcut.x : shortcut.x + layer.shortcut.tile_x;
        shortcut.base <= row_ends ? layer.shortcut.base : shortcut.base + layer.shortcut.tile_base;
      end
    end
  end

  // ---- Clusters; two of them share a memory of weights

  localparam int MEMORIES = (fs::CLUSTERS + 1) / 2;
  localparam int ROW_BITS = fs::LANES * fs::WEIGHT_BITS;
  localparam int TILE_BITS = fs::LANES * fs::MEMBRANE_BITS;
  fs::write_t write, next_write;
  logic [2*MEMORIES-1:0] weight_read;
  logic [2*MEMORIES*fs::ADDRESS_BITS-1:0] weight_row;
  logic [2*MEMORIES*ROW_BITS-1:0] weights;
  logic [fs::CLUSTERS-1:0] ready, done;
  logic [fs::CLUSTERS*fs::LANES-1:0] waiting, sent;
  logic [fs::CLUSTERS*TILE_BITS-1:0] membranes;
  for (genvar c = 0; c < fs::CLUSTERS; c++) begin : clusters
    fs_cluster #(
        .FIRST_LANE(c * fs::LANES)
    ) cluster (
        .clock,
        .reset,
        .layer,
        .tile_valid(giving && given_turn == TURN_BITS'(c)),
        .tile_in(tile),
        .tile_ready(tile_ready[c]),
        .write,
        .weight_read(weight_read[c]),
        .weight_row(weight_row[c*fs::ADDRESS_BITS+:fs::ADDRESS_BITS]),
        .weights(weights[c*ROW_BITS+:ROW_BITS]),
        .ready(ready[c]),
        .waiting(waiting[c*fs::LANES+:fs::LANES]),
        .membranes(membranes[c*TILE_BITS+:TILE_BITS]),
        .sent(sent[c*fs::LANES+:fs::LANES]),
        .done(done[c])
    );
  end
  if (fs::CLUSTERS % 2 == 1) begin : odd
    assign weight_read[2*MEMORIES-1] = 1'b0;
    assign weight_row[2*MEMORIES*fs::ADDRESS_BITS-1-:fs::ADDRESS_BITS] = '0;
    logic unused;
    assign unused = &{1'b0, weights[2*MEMORIES*ROW_BITS-1-:ROW_BITS]};
  end
  for (genvar m = 0; m < MEMORIES; m++) begin : memories
    fs_rom_2 #(
        .WIDTH(ROW_BITS),
        .DEPTH(fs::WEIGHT_ROWS),
        .FILE ("weights.mem")
    ) memory (
        .clock,
        .read_0(weight_read[2*m]),
        .read_1(weight_read[2*m+1]),
        .address_0(weight_row[2*m*fs::ADDRESS_BITS+:fs::ADDRESS_BITS]),
        .address_1(weight_row[(2*m+1)*fs::ADDRESS_BITS+:fs::ADDRESS_BITS]),
        .value_0(weights[2*m*ROW_BITS+:ROW_BITS]),
        .value_1(weights[(2*m+1)*ROW_BITS+:ROW_BITS])
    );
  end

  // ---- Collector: the neurons of complete tiles, one per cycle

  fs::channels_t taken;
  fs::address_t taken_tile, taken_number, picked_rise, column_neuron;
  fs::count_t row, column;
  logic [TURN_BITS-1:0] taken_turn;
  logic taking, collects, column_ends, kept, marked, last_column, tile_ends;
  fs_table #(
      .WIDTH($bits(taken)),
      .DEPTH(fs::TILES),
      .FILE ("tiles.mem")
  ) taken_table (
      .address(taken_number),
      .value(taken)
  );
  assign taken_number = layer.first_tile + taken_tile;
  assign collects = taking && ready[taken_turn];
  assign column_ends = taken_tile == layer.tiles;
  fs_map layer_map (
      .clock,
      .start(begins),
      .next(tile_ends && column_ends),
      .map(layer.own),
      .row,
      .column,
      .neuron(column_neuron),
      .kept,
      .marked,
      .last(last_column)
  );

  logic [fs::LANES-1:0] lanes, lowest;
  logic [TILE_BITS-1:0] tile_membranes;
  fs::lane_t lane;
  fs::membrane_t membrane;
  fs::token_t token, picked;
  logic [fs::LANES-1:0] picked_lane;
  logic [TURN_BITS-1:0] picked_turn;
  logic [23:0] index;  // of the tile's first neuron
  assign lanes = waiting[taken_turn*fs::LANES+:fs::LANES] & ~({fs::LANES{1'b1}} << 1 << taken.lanes);
  assign lowest = lanes & -lanes;
  assign tile_ends = collects && lanes == lowest;
  always_comb begin
    lane = '0;
    for (int i = 0; i < fs::LANES; i++) if (lowest[i]) lane |= fs::lane_t'(i);
  end
  assign tile_membranes = membranes[picked_turn*TILE_BITS+:TILE_BITS];
  always_comb begin
    membrane = '0;
    for (int i = 0; i < fs::LANES; i++)
      if (picked_lane[i]) membrane |= tile_membranes[i*fs::MEMBRANE_BITS+:fs::MEMBRANE_BITS];
  end
  always_comb begin
    sent = '0;
    done = '0;
    if (collects) sent[taken_turn*fs::LANES+:fs::LANES] = lowest;
    done[taken_turn] = tile_ends;
  end
  assign token.valid = collects;
  assign token.spike = |lanes;
  assign token.kept = kept;
  assign token.mark = tile_ends && taken.marked && marked;
  assign token.ends = tile_ends && column_ends && last_column;
  assign token.neuron = column_neuron + taken.channel + fs::address_t'(lane);
  assign token.index = index + 24'(lane);
  assign token.steps = layer.steps;
  always_ff @(posedge clock) begin
    picked <= token;
    picked_lane <= lowest;
    picked_turn <= taken_turn;
    picked_rise <= fs::address_t'({taken_number, lane});
    if (reset) picked.valid <= 1'b0;
    if (reset) taking <= 1'b0;
    else taking <= begins || (taking && !token.ends);
    if (begins) begin
      {taken_tile, taken_turn, index} <= '0;
    end else if (tile_ends) begin
      taken_turn <= taken_turn == LAST_TURN ? '0 : taken_turn + 1'b1;
      taken_tile <= column_ends ? '0 : taken_tile + 1'b1;
      index <= index + 24'(taken.lanes) + 1'b1;
    end
  end

  // ---- Readout: the class of the largest score, the lower one of equals

  logic score_valid;
  fs::membrane_t best;
  assign score_valid = picked.valid && layer.readout;
  always_ff @(posedge clock)
    if (score_valid && (picked.index == '0 || membrane > best)) begin
      best <= membrane;
      result <= picked.index[15:0];
    end

  // ---- Firing, and the list of spikes

  logic [fs::RISE_BITS-1:0] rise;
  fs::token_t fired;
  fs::level_t level;
  fs::address_t spike_address, mark_address;
  logic spike_valid;
  fs_rom #(
      .WIDTH(fs::RISE_BITS),
      .DEPTH(fs::TILES << fs::LANE_BITS),
      .FILE ("rises.mem")
  ) rise_table (
      .clock,
      .read(picked.valid),
      .address(picked_rise),
      .value(rise)
  );
  fs_fire fire (
      .clock,
      .reset,
      .token(picked),
      .membrane,
      .rise,
      .fired,
      .level
  );
  assign layer_ends = fired.valid && fired.ends;
  assign spike_valid = fired.valid && fired.spike && !layer.readout;

  // ---- Loader: pixels to the list of the input map

  fs::image_t image;
  fs::address_t pixel_channel, pixel_neuron, column_pixel, next_spike, next_mark;
  fs::count_t pixel_row, pixel_column;
  fs::level_t pixel_level;
  logic fresh, border, takes, column_full, pixel_kept, pixel_marked, last_pixel_column, image_ends;
  fs_table #(
      .WIDTH($bits(image)),
      .DEPTH(2),
      .FILE ("image.mem")
  ) image_table (
      .address('0),
      .value(image)
  );
  fs_map image_map (
      .clock,
      .start(reset),
      .next(takes && column_full),
      .map(image.own),
      .row(pixel_row),
      .column(pixel_column),
      .neuron(column_pixel),
      .kept(pixel_kept),
      .marked(pixel_marked),
      .last(last_pixel_column)
  );
  if (fs::CODES == 0) begin : levels
    assign pixel_level = fs::level_t'(pixel);
  end else begin : codes
    fs_table #(
        .WIDTH(fs::LEVEL_BITS),
        .DEPTH(512 * fs::CODES),
        .FILE ("codes.mem")
    ) code_table (
        .address(fs::address_t'({fs::CODES > 1 ? pixel_channel : '0, border, border ? 8'h0 : pixel})),
        .value(pixel_level)
    );
  end
  assign border = pixel_row < image.border_rows || pixel_row > image.own.rows - image.border_rows ||
      pixel_column < image.border_columns || pixel_column > image.own.columns - image.border_columns;
  assign takes = !loaded && !fresh && !fired.valid && !begins && (border || pixel_valid);
  assign pixel_ready = !loaded && !fresh && !fired.valid && !begins && !border;
  assign column_full = pixel_channel == image.own.channels - 1'b1;
  assign image_ends = takes && column_full && last_pixel_column;
  assign pixel_neuron = column_pixel + pixel_channel;
  always_ff @(posedge clock) begin
    if (reset) begin
      loaded <= 1'b0;
      fresh <= 1'b1;
      pixel_channel <= '0;
    end else begin
      loaded <= image_ends || (loaded && !(layer_ends && layer.last_use));
      fresh <= image_ends || (fresh && (loaded || fired.valid || begins));
      if (takes) pixel_channel <= column_full ? '0 : pixel_channel + 1'b1;
    end
    if (!loaded && fresh) begin
      next_spike <= image.own.spikes;
      next_mark <= image.own.marks + 1'b1;
    end else if (takes) begin
      next_spike <= next_spike + fs::address_t'(pixel_kept && (pixel_level != '0 || fs::SKIPS == 0));
      next_mark <= next_mark + fs::address_t'(column_full && pixel_marked);
    end
  end

  // ---- Writer: of the layer that runs, or where it leaves a cycle free, of the input map

  always_comb begin
    next_write = '0;
    if (begins) begin
      next_write.mark = 1'b1;
      next_write.mark_address = layer.own.marks;
      next_write.mark_value = layer.own.spikes;
    end else if (fired.valid) begin
      next_write.spike = spike_valid && fired.kept;
      next_write.spike_address = spike_address;
      next_write.neuron = fired.neuron;
      next_write.level = level;
      next_write.mark = fired.mark;
      next_write.mark_address = mark_address;
      next_write.mark_value = spike_address + fs::address_t'(next_write.spike);
    end else if (!loaded) begin
      next_write.spike = takes && pixel_kept && (pixel_level != '0 || fs::SKIPS == 0);
      next_write.spike_address = next_spike;
      next_write.neuron = pixel_neuron;
      next_write.level = pixel_level;
      next_write.mark = fresh || (takes && column_full && pixel_marked);
      next_write.mark_address = fresh ? image.own.marks : next_mark;
      next_write.mark_value = fresh ? image.own.spikes : next_spike + fs::address_t'(next_write.spike);
    end
  end
  always_ff @(posedge clock) begin
    write <= next_write;
    if (begins) begin
      spike_address <= layer.own.spikes;
      mark_address <= layer.own.marks + 1'b1;
    end else if (fired.valid) begin
      spike_address <= spike_address + fs::address_t'(next_write.spike);
      mark_address <= mark_address + fs::address_t'(fired.mark);
    end
  end

  logic unused;
  assign unused = &{1'b0, row, column, given, taken, score_valid, fired};
endmodule
