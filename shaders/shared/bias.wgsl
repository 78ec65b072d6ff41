// Whether each neuron has a bias: the last row of the weights, for an input that spikes at every time step.
override BIAS: bool = false;
