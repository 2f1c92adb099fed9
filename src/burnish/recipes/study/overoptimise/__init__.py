"""`burnish study overoptimise`: gold and proxy score as a proxy reward is optimised further and further."""
