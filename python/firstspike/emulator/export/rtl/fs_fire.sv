// Firing: the step in which a membrane that rises by D per step passed the threshold, as a level. One neuron per cycle.
//
// level = min(floor(membrane / D) + 1, T), and 0 for a negative membrane. The quotient has one bit per stage: where D times that bit
// is not larger than what is left of the membrane, it is subtracted. A quotient that needs more bits comes out as all ones.
module fs_fire (
    input logic clock,
    input logic reset,
    input fs::token_t token,
    input fs::membrane_t membrane,
    input logic [fs::RISE_BITS-1:0] rise,   // one cycle later
    output fs::token_t fired,               // fs::STAGES + 2 cycles later
    output fs::level_t level
);
  localparam int S = fs::STAGES;
  localparam int BITS = fs::MEMBRANE_BITS + fs::RISE_BITS + S;  // of D times any bit
  logic [S+1:0] valid;
  logic [$bits(token)-1:0] tokens[S+2];
  fs::membrane_t rests[S+1];
  logic [fs::RISE_BITS-1:0] rises[S+1];
  logic [S:0] quotients[S+1];  // one bit more than it needs, so that it may need none

  always_ff @(posedge clock) begin
    valid <= reset ? '0 : {valid[S:0], token.valid};
    tokens[0] <= token;
    rests[0] <= membrane;
  end
  assign rises[0] = rise;
  assign quotients[0] = '0;
  for (genvar i = 0; i < S; i++) begin : stages
    logic [BITS-1:0] part;
    logic fits;
    assign part = BITS'(rises[i]) << (S - 1 - i);
    assign fits = rests[i] >= 0 && BITS'(rests[i]) >= part;
    always_ff @(posedge clock) begin
      tokens[i+1] <= tokens[i];
      rises[i+1] <= rises[i];
      rests[i+1] <= fits ? rests[i] - fs::membrane_t'(part) : rests[i];
      quotients[i+1] <= quotients[i] | ((S + 1)'(fits) << (S - 1 - i));
    end
  end

  fs::token_t last;
  logic [S:0] sum;
  assign last = tokens[S];
  assign sum = quotients[S] + 1'b1;
  always_ff @(posedge clock) begin
    tokens[S+1] <= tokens[S];
    if (rests[S] < 0) level <= '0;
    else if (sum > (S + 1)'(last.steps)) level <= last.steps;
    else level <= fs::level_t'(sum);
  end
  logic unused;
  assign unused = &{1'b0, last};
  always_comb begin
    fired = tokens[S+1];
    fired.valid = valid[S+1];
  end
endmodule
