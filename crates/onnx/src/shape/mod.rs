//! Types and shapes of the values of a graph.
