// A lane: one neuron's membrane. It integrates the spikes of its synapses; of the sites of a tile the largest membrane counts.
//
// The membrane is that of the last step of the neuron's window, less the threshold: V0 + D T - theta. The neuron fires if it is not
// negative, and by as many steps earlier as the rise D goes into it.
module fs_lane #(
    parameter logic MULTIPLIER = 1'b1   // one of the FPGA's; else the level's bits select shifted weights, which are added
) (
    input logic clock,
    input logic signed [fs::WEIGHT_BITS-1:0] weight,
    input fs::level_t level,            // of the weight's spike
    input fs::membrane_t start,         // the membrane without spikes
    input logic add,                    // one cycle later: add the product
    input logic renew,                  // to `start`
    input logic close,                  // two cycles later: the site is complete
    input logic fresh,                  // it is the tile's first
    input logic take,                   // the tile is complete
    output fs::membrane_t membrane      // of the last complete tile
);
  localparam int BITS = fs::WEIGHT_BITS + fs::LEVEL_BITS;
  logic signed [BITS-1:0] product;
  if (MULTIPLIER) begin : multiplier
    always_ff @(posedge clock) product <= BITS'(weight * $signed({1'b0, level}));
  end else begin : adders
    logic signed [BITS-1:0] sum;
    always_comb begin
      sum = '0;
      for (int i = 0; i < fs::LEVEL_BITS; i++) sum = sum + (level[i] ? BITS'(weight) <<< i : BITS'(0));
    end
    always_ff @(posedge clock) product <= sum;
  end

  fs::membrane_t current, best, largest;
  always_ff @(posedge clock) if (add) current <= (renew ? start : current) + fs::membrane_t'(product);
  if (fs::POOLS == 1) begin : pools
    assign largest = fresh || current > best ? current : best;
    always_ff @(posedge clock) if (close) best <= largest;
  end else begin : plain
    assign largest = current;
    assign best = '0;
    logic unused;
    assign unused = &{1'b0, best, close, fresh};
  end
  always_ff @(posedge clock) if (take) membrane <= largest;
endmodule
