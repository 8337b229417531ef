"""The XML schemas of the contract, written by hand.

They are published as they lie here and validate every request; relative imports tie them together. Within a
namespace that ends in ``:1`` changes are additive only.
"""
