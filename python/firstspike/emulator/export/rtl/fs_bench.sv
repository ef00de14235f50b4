// Runs the core on the images of pixels.hex and compares every spike, score, class and number of cycles with expected.hex.
//
// expected.hex begins with the number of images. Each image has for each layer its spikes, {level of 8 bits, neuron of 24}, or its
// scores, then ffffffff and the cycles; and then its class. The work that was done is printed last.
module fs_bench;
  logic clock = 1'b0, reset = 1'b1;
  always #5 clock = !clock;

  logic pixel_valid, pixel_ready, result_valid, taken;
  logic [7:0] pixel;
  logic [15:0] result;
  fs_core core (
      .clock,
      .reset,
      .pixel_valid,
      .pixel_ready,
      .pixel,
      .result_valid,
      .result_ready(1'b1),
      .result
  );

  string folder;
  int pixels, expected, images;
  longint cycle, begun, result_at, done, faults, loading, computing, between;
  longint spikes_written, marks_written;
  longint spikes_read[fs::CLUSTERS], additions[fs::CLUSTERS], marks_read[fs::CLUSTERS], weights_read[fs::CLUSTERS];
  logic [31:0] word;

  task automatic next_word;
    if ($fscanf(expected, "%h", word) != 1) $fatal(1, "expected.hex is too short");
  endtask

  task automatic check(input logic [31:0] value, input string what);
    next_word();
    if (word == value) return;
    faults++;
    if (faults <= 20) $display("image %0d, layer %0d: %s is %h, expected %h", done, core.layer_number, what, value, word);
  endtask

  initial begin
    if (!$value$plusargs("tables=%s", folder)) folder = ".";
    pixels = $fopen({folder, "/pixels.hex"}, "r");
    expected = $fopen({folder, "/expected.hex"}, "r");
    if (pixels == 0 || expected == 0) $fatal(1, "no pixels.hex or no expected.hex in %s", folder);
    next_word();
    images = word;
    pixel_valid = $fscanf(pixels, "%h", pixel) == 1;
    repeat (4) @(negedge clock);
    reset = 1'b0;
  end

  always @(posedge clock) taken <= pixel_valid && pixel_ready;
  always @(negedge clock) if (!reset) begin
    cycle++;
    if (taken) pixel_valid = $fscanf(pixels, "%h", pixel) == 1;
    if (core.write.spike) spikes_written++;
    if (core.write.mark) marks_written++;
    if (core.spike_valid) check({8'(core.level), core.fired.index}, "a spike");
    if (core.score_valid) check(32'(core.membrane), "a score");
    if (core.layer_ends) begin
      check('1, "a layer's end");
      check(32'(cycle - begun), "its number of cycles");
      computing += cycle - begun;
    end
    if (core.begins) begun = cycle;
    if (core.takes) loading++;
    if (result_valid) begin
      check(32'(result), "the class");
      if (done > 0) between += cycle - result_at;
      result_at = cycle;
      done++;
      if (done == 64'(images)) finish();
    end
    if (cycle - result_at > 100_000_000) $fatal(1, "no result in 100,000,000 cycles");
  end

  for (genvar c = 0; c < fs::CLUSTERS; c++) begin : counts
    fs::channels_t tile;
    assign tile = core.given_table.words[core.clusters[c].cluster.added.number[$clog2(fs::TILES)-1:0]];
    logic unused;
    assign unused = &{1'b0, tile};
    always @(negedge clock) if (!reset) begin
      if (core.clusters[c].cluster.step) marks_read[c] += 2;
      if (core.clusters[c].cluster.seen.valid && !core.clusters[c].cluster.seen.silent) spikes_read[c]++;
      if (core.clusters[c].cluster.weight_read) weights_read[c]++;
      if (core.clusters[c].cluster.added.valid) additions[c] += 64'(tile.lanes) + 1;
    end
  end

  task automatic finish;
    for (int c = 1; c < fs::CLUSTERS; c++) begin
      spikes_read[0] += spikes_read[c];
      marks_read[0] += marks_read[c];
      weights_read[0] += weights_read[c];
      additions[0] += additions[c];
    end
    $display("images %0d", done);
    $display("differences %0d", faults);
    $display("cycles_computing %0d", computing);
    $display("cycles_between_results %0d", between);
    $display("spikes_read %0d", spikes_read[0]);
    $display("weight_rows_read %0d", weights_read[0]);
    $display("marks_read %0d", marks_read[0]);
    $display("spikes_written %0d", spikes_written);
    $display("marks_written %0d", marks_written);
    $display("additions %0d", additions[0]);
    if (faults != 0) $fatal(1, "the core differs from the emulator");
    $finish;
  endtask
endmodule
